"""What Folio changes in Prefect's server; see also tests/tasks/test_artifacts.py."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.server.events.ordering import EventArrivedEarly, memory
from prefect.server.events.schemas.events import ReceivedEvent, Resource

from flows.web.prefect_app import EARLIER_EVENT, wait_briefly_for_earlier_events

pytestmark = pytest.mark.slow  # imports Prefect


@pytest.fixture
def ordering() -> Iterator[memory.CausalOrdering]:
    before = memory.PRECEDING_EVENT_LOOKBACK
    wait_briefly_for_earlier_events()
    yield memory.CausalOrdering(scope="a test")
    memory.PRECEDING_EVENT_LOOKBACK = before
    memory.CausalOrdering.clear_all_scopes()


def crashed(ago: timedelta) -> ReceivedEvent:
    """A change of state whose predecessor nobody has seen."""
    then = datetime.now(UTC) - ago
    return ReceivedEvent(
        occurred=then,
        received=then,
        event="prefect.flow-run.Crashed",
        resource=Resource({"prefect.resource.id": "prefect.flow-run.x"}),
        id=uuid4(),
        follows=uuid4(),
    )


def test_an_event_waits_for_its_predecessor_for_seconds(ordering: memory.CausalOrdering) -> None:
    async def waits(event: ReceivedEvent) -> list[ReceivedEvent]:
        with pytest.raises(EventArrivedEarly):
            await ordering.wait_for_leader(event)
        assert await ordering.get_lost_followers() == []
        ordering._waitlist[event.id] -= EARLIER_EVENT  # as time goes by
        return await ordering.get_lost_followers()

    event = crashed(timedelta(0))
    assert asyncio.run(waits(event)) == [event]
    asyncio.run(ordering.wait_for_leader(crashed(EARLIER_EVENT)))  # does not wait
