"""The contract catches providers that are wrong in one way each, and tells their author what to do."""

import asyncio

import pytest

from core.llm.testing import ContractUpstream, ProviderContract
from tests.contract import wrong_providers as wrong
from tests.contract.running import broken_rules
from tests.contract.scripted_upstream import ScriptedUpstream, SteeredProvider

CASES = [
    (wrong.StripsWhiteSpace, "test_a_stream_delivers_the_whole_text", "dropped, doubled, stripped or changed"),
    (wrong.StripsWhiteSpace, "test_generate_keeps_every_character", "never strip or normalise"),
    (wrong.StartsTwice, "test_a_stream_starts_once_and_first", "exactly one StreamStart"),
    (wrong.NeverFinishes, "test_a_stream_finishes_once_and_last", "exactly one StreamFinish"),
    (wrong.TalksAfterTheEnd, "test_a_stream_finishes_once_and_last", "as the last event"),
    (wrong.TakesACutForTheEnd, "test_a_cut_stream_is_an_error", "raise ProviderError('protocol'"),
    (wrong.CollectsTheStream, "test_pieces_are_delivered_as_they_arrive", "yield each piece at once"),
    (wrong.SwallowsCancellation, "test_cancelling_generate_cuts_the_upstream", "never catch it"),
    (wrong.LeavesTheConnectionOpen, "test_leaving_a_stream_cuts_the_upstream", "close the connection in a `finally`"),
    (wrong.LeavesTheConnectionOpen, "test_cancelling_a_stream_cuts_the_upstream", "close the connection in a"),
    (wrong.ShowsTheKey, "test_a_wrong_key_is_an_authentication_error", "mask it with core.llm.common.secrets.redact"),
    (wrong.ChainsTheKey, "test_a_wrong_key_is_an_authentication_error", "raise `from None`"),
    (wrong.RemembersTheKey, "test_the_credential_never_shows", "the credential shows in repr(provider)"),
    (wrong.HasNoPlace, "test_a_server_error_may_be_tried_again", "error.at(self.name, request.model)"),
    (wrong.RaisesAForeignError, "test_a_server_error_may_be_tried_again", "translate what libraries raise"),
    (wrong.CallsEverythingUnknown, "test_a_missing_model_is_told_apart", "'unknown' from generate"),
    (wrong.ForgetsTheWait, "test_a_rate_limit_says_when_to_come_back", "asked for 7 s: read its hint"),
    (wrong.TriesAgain, "test_a_provider_sends_once", "a provider never retries"),
    (wrong.RaisesInTheHealthCheck, "test_health_check_reports_an_outage", "return HealthReport(healthy=False"),
    (wrong.AsksTheModelForHealth, "test_health_check_reports_health", "an endpoint that costs no tokens"),
    (wrong.ClosesOnce, "test_close_may_be_called_twice", "Make close() idempotent"),
    (wrong.KeepsTheLastAnswer, "test_calls_side_by_side_do_not_mix", "keep nothing about a call on the provider"),
    (wrong.CountsTwice, "test_usage_is_counted_in_disjoint_buckets", "buckets are disjoint"),
    (wrong.InventsUsage, "test_missing_usage_is_flagged", "set usage.estimated"),
    (wrong.ThinksAloud, "test_thinking_is_not_part_of_the_text", "put reasoning into ThinkingParts"),
    (wrong.ForgetsToCompleteToolCalls, "test_a_streamed_tool_call_is_completed", "yield one ToolCallReady for each"),
    (wrong.CutsToolArguments, "test_a_streamed_tool_call_is_completed", "its ToolCallReady says"),
    (wrong.EditsTheRequest, "test_the_request_is_left_as_it_was", "generate changed request.model"),
    (wrong.DropsASetting, "test_no_parameter_is_dropped_in_silence", "request.warn('dropped', 'seed'"),
    (wrong.AddsADefault, "test_nothing_is_sent_that_was_not_set", "sent temperature, which nobody set"),
    (wrong.TakesAnErrorPageForAnAnswer, "test_an_error_page_is_never_an_answer", "was taken for an answer"),
    (wrong.MixesUpVectors, "test_vectors_come_in_the_order_of_the_texts", "order vectors by the index"),
    (wrong.ForgetsItsName, "test_generate_names_provider_and_model", "set it to the provider's configured name"),
    (wrong.FlattensTheFinish, "test_generate_says_why_the_model_stopped", "map the upstream's word to ours"),
]


@pytest.fixture(scope="module")
def findings():
    """What the contract said about each wrong provider, computed once."""
    return {}


@pytest.fixture(autouse=True)
async def _nothing_left_running():
    yield
    for task in wrong.LEFT_RUNNING:
        task.cancel()
    await asyncio.gather(*wrong.LEFT_RUNNING, return_exceptions=True)
    wrong.LEFT_RUNNING.clear()


class Impatient(ProviderContract):
    """The same rules with a short deadline, for providers that are known to miss it."""

    prompt_deadline = 0.3
    patience = 3.0


@pytest.mark.parametrize(("kind", "rule", "advice"), CASES, ids=lambda value: getattr(value, "__name__", None))
async def test_a_wrong_provider_is_caught(findings, kind, rule, advice):
    """The rule that it breaks fails, with a message that says what to do."""
    if kind not in findings:
        findings[kind] = await broken_rules(ScriptedUpstream, kind, Impatient)

    assert rule in findings[kind], f"the contract found only {sorted(findings[kind])}"
    assert advice in findings[kind][rule]


async def test_a_right_provider_breaks_no_rule():
    """What the contract finds is not an accident of how it is run here."""
    assert await broken_rules(ScriptedUpstream, SteeredProvider) == {}


def test_what_is_lacking_is_left_out_and_nothing_else():
    """A check that cannot apply is absent, so a test run needs no skips."""

    class WithoutTools(ProviderContract):
        lacks = frozenset({"tools"})

    assert WithoutTools.test_a_tool_call_is_complete is None
    assert WithoutTools.test_parallel_tool_calls_keep_their_order is None
    assert WithoutTools.test_generate_returns_the_text is ProviderContract.test_generate_returns_the_text


def test_a_typing_mistake_in_lacks_is_an_error():
    """A rule is never left out because of an ability that does not exist."""
    with pytest.raises(TypeError, match="unknown abilities: toolz"):
        type("Wrong", (ProviderContract,), {"lacks": frozenset({"toolz"})})


def test_forgotten_vectors_say_what_to_write():
    """The upstream of a provider with embeddings must answer them."""

    class Mute(ScriptedUpstream):
        answer_vectors = ContractUpstream.answer_vectors

    with pytest.raises(NotImplementedError, match="write answer_vectors, or add 'embeddings' to `lacks`"):
        Mute().answer_vectors([[1.0]])
