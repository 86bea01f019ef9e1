"""The tests that every history of revisions should pass."""

from __future__ import annotations

from typing import Any

from .sample_rows import SampleRows

Case = Any  # a MigrationTestCase, which these are put on


class RevisionTests:
    """What a ``MigrationTestCase`` that names its migrations has."""

    def test_history_has_a_single_head(self: Case) -> None:
        """One revision is the latest, or one of each labelled branch."""
        from .migrations import competing_heads

        if found := competing_heads(self._dbtestcase_migrating().schema.source):
            self.fail(found)

    def test_history_has_no_orphaned_revision(self: Case) -> None:
        """Every file of a revision is part of the history, which has one beginning."""
        from .migrations import orphans

        if found := orphans(self._dbtestcase_migrating().schema.source):
            self.fail(found)

    def test_every_revision_upgrades_from_empty(self: Case) -> None:
        """An empty database can be upgraded to the head."""
        self.migrate_to("base")
        self.migrate_to("heads")

    def test_every_revision_downgrades_and_upgrades_again(self: Case) -> None:
        """Each revision, deployed by itself, can be taken back and deployed again."""
        self.migrate_to("base")
        migrating = self._dbtestcase_migrating()
        revisions = migrating.schema.source.revisions()
        done = 0
        while done < len(revisions):
            reached: list[Any] = []
            try:
                migrating.rehearse(revisions[done:], reached)
                done = len(revisions)
            except Exception as error:
                if not reached:
                    raise
                done += len(reached)
                _report(self, reached[-1:], error)
                try:
                    migrating.restart(revisions[:done])
                except Exception:  # as was reported; the others cannot be reached
                    break

    def test_every_revision_upgrades_tables_with_rows(self: Case) -> None:
        """Each revision can be deployed where every table holds a row."""
        self.migrate_to("base")
        migrating = self._dbtestcase_migrating()
        migrating.upgrade_each(SampleRows(self.sample_rows, schemas=migrating.has_schemas).fill)

    def test_models_match_the_migrated_schema(self: Case) -> None:
        """The models say what the migrations make, types and server defaults included."""
        self.migrate_to("heads")
        self.assertSchemaMatchesModels(exclude=self.compare_exclude)


def _report(test: Case, reached: list[Any], error: Exception) -> None:
    from .migrations import named

    with test.subTest(revision="".join(map(named, reached))):
        raise error
