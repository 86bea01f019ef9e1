"""A suite in the habits of Django: class data, query counts, and nothing to clean up."""

from dbtestcase import DatabaseTestCase
from polls import services
from polls.models import Base, Choice, Question


class TestCase(DatabaseTestCase):
    metadata = Base.metadata
    engines = ["polls.models:engine"]


class VotingTests(TestCase):
    @classmethod
    def setUpTestData(cls, session):
        cls.question = services.ask("Tea or coffee?", ["Tea", "Coffee"])
        cls.tea, cls.coffee = cls.question.choices

    def setUp(self):
        super().setUp()
        self.notified = []
        services.notify.append(self.notified.append)
        self.addCleanup(services.notify.remove, self.notified.append)

    def test_vote_is_counted(self):
        services.vote(self.tea.id)
        services.vote(self.tea.id)
        self.session.refresh(self.tea)
        self.assertEqual(self.tea.votes, 2)
        self.assertDatabaseHas(Choice, text="Coffee", votes=0)

    def test_every_test_starts_without_votes(self):
        self.assertEqual(services.results(), {"Tea or coffee?": {"Tea": 0, "Coffee": 0}})

    def test_hooks_run_on_commit(self):
        services.vote(self.coffee.id)
        self.assertEqual(self.notified, [self.question.id])

    def test_no_hook_runs_on_rollback(self):
        with self.assertRaises(services.NoSuchChoiceError):
            services.vote(0)
        self.assertEqual(self.notified, [])


class QueryTests(TestCase):
    @classmethod
    def setUpTestData(cls, session):
        session.add_all(
            Question(text=f"Question {number}", choices=[Choice(text="Yes"), Choice(text="No")])
            for number in range(10)
        )

    def test_results_take_one_query(self):
        with self.assertNumQueries(1):
            results = services.results()
        self.assertEqual(len(results), 10)

    def test_asking_takes_two(self):
        with self.assertNumQueries(2):
            services.ask("Anything else?", ["No"])
        self.assertDatabaseCount(Question, 11)
        self.assertDatabaseCount(Choice, 21)
