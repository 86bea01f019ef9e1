"""The ledger's tests, which have not changed since they had another base class."""

from ledger import Account, Entry, Session, handle, transfer
from testcase import TestCase


class TransferTests(TestCase):
    def setUp(self):
        super().setUp()
        self.ann = Account(owner="Ann", entries=[Entry(amount=100)])
        self.bob = Account(owner="Bob")
        self.session.add_all([self.ann, self.bob])
        self.session.commit()

    def test_transfer(self):
        self.assertTrue(handle(transfer, "Ann", "Bob", 30))
        self.assertEqual(self.ann.balance, 70)
        self.assertEqual(self.bob.balance, 30)
        self.assertEqual([entry.amount for entry in self.bob.entries], [30])

    def test_all(self):
        self.assertTrue(handle(transfer, "Ann", "Bob", 100))
        self.assertEqual(self.ann.balance, 0)

    def test_more_than_there_is(self):
        self.assertFalse(handle(transfer, "Ann", "Bob", 101))
        self.assertEqual(self.ann.balance, 100)
        self.assertEqual(self.bob.entries, [])

    def test_there_and_back(self):
        handle(transfer, "Ann", "Bob", 30)
        handle(transfer, "Bob", "Ann", 30)
        self.assertEqual(Entry.query.count(), 5)
        self.assertEqual(self.ann.balance, 100)

    def test_starts_clean(self):
        self.assertEqual(Entry.query.count(), 1)
        self.assertIs(Session(), self.session)
