"""What objects load by themselves: where it passes and fails, and what a person reads then."""

from __future__ import annotations

from sqlalchemy import inspect, select
from sqlalchemy.orm import defer, joinedload, selectinload, subqueryload

from .behaviour import Async, Sync
from .shop import Account, Item, Order, Shop


class Loading(Shop):
    def order(self, *options: object) -> Order:
        """Return the order, as a query with ``options`` loads it."""
        self.own_session.expunge_all()
        return self.own_session.scalars(select(Order).options(*options)).unique().one()

    def test_loaded(self) -> None:
        order = self.order(selectinload(Order.items))
        self.check(self.assertLoaded(order, "items"))
        self.check(self.assertLoaded(order, Order.items, "number"))

    def test_loaded_fails(self) -> None:
        order = self.order(defer(Order.is_deleted))
        self.says(
            self.failure(self.assertLoaded, order, "items", Order.number, "account"),
            "Order 2001 has not loaded items, account, only id, number, account_id",
        )
        self.own_session.expire(order)
        self.says(
            self.failure(self.assertLoaded, order, "number"),
            "Order 2001 has not loaded number, nor anything else",
        )

    def test_not_loaded(self) -> None:
        self.check(self.assertNotLoaded(self.order(), "items", Order.account))

    def test_not_loaded_fails(self) -> None:
        order = self.order(joinedload(Order.items), defer(Order.is_deleted))
        self.says(
            self.failure(self.assertNotLoaded, order, Order.items, "account"),
            "Order 2001 has loaded items",
        )

    def test_asking_loads_nothing(self) -> None:
        order = self.order()
        self.failure(self.assertLoaded, order, "items")
        self.assertIn("items", inspect(order).unloaded)

    def test_no_lazy_loads(self) -> None:
        with self.assertNoLazyLoads():
            for load in (selectinload, joinedload, subqueryload):
                order = self.order(load(Order.items), load(Order.account))
                self.assertEqual(len(order.items), 2)
                self.assertEqual(order.account.name, "alice")
            self.own_session.refresh(order)
            self.own_session.expire(order)
            self.assertIs(self.own_session.get(Order, 2001), order)
            self.own_session.merge(Account(id=1001, name="changed"))
            self.own_session.delete(order.items[0])
            self.own_session.flush()

    def test_no_lazy_loads_fails_for_a_relationship(self) -> None:
        order = self.order()
        text = self.block_failure(self.assertNoLazyLoads(), lambda: order.items)
        self.assertRegex(text, r"^Lazy load of items of Order 2001\n  at .*test_loading\.py:\d+$")
        self.assertEqual(len(order.items), 2)

    def test_no_lazy_loads_fails_for_a_reference(self) -> None:
        order = self.order()
        text = self.block_failure(self.assertNoLazyLoads(), lambda: order.account)
        self.assertIn("Lazy load of account of Order 2001\n", text)

    def test_no_lazy_loads_fails_for_columns(self) -> None:
        order = self.order(defer(Order.number))
        message = "Lazy load of expired or deferred columns of Order\n  at "
        text = self.block_failure(self.assertNoLazyLoads(), lambda: order.number)
        self.assertIn(message, text)
        self.own_session.expire(order)
        text = self.block_failure(self.assertNoLazyLoads(), lambda: order.number)
        self.assertIn(message, text)

    def test_no_lazy_loads_fails_though_the_block_swallows_it(self) -> None:
        order = self.order()

        def act() -> None:
            with self.assertRaises(AssertionError):
                _ = order.items

        text = self.block_failure(self.assertNoLazyLoads(), act)
        self.assertIn("Lazy load of items of Order 2001", text)

    def test_wrong_use(self) -> None:
        order = self.order()
        for assertion in (self.assertLoaded, self.assertNotLoaded):
            self.assertIn(
                "Order has no attribute 'item'; did you mean 'items'?",
                self.misuse(assertion, order, "item"),
            )
            self.assertIn(
                "Order has no attribute Item.code; it has", self.misuse(assertion, order, Item.code)
            )
            self.assertIn("no attribute of Order 2001 is named", self.misuse(assertion, order))
            self.assertIn("5 is no object of a mapped class", self.misuse(assertion, 5, "items"))


class SyncLoading(Loading, Sync):
    pass


class AsyncLoading(Loading, Async):
    async def test_lazy_load_where_nothing_can_be_awaited(self) -> None:
        order = (await self.session.scalars(select(Order))).one()
        message = "Lazy load of items of Order 2001\n  at "
        with self.assertRaisesRegex(AssertionError, message), self.assertNoLazyLoads():
            _ = order.items
        await self.assertNotLoaded(order, "items")
