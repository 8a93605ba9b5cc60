from jobs.recent_refusals import RecentRefusals


def test_a_refusal_of_the_account_holds_for_every_model() -> None:
    refusals = RecentRefusals()
    assert not refusals.is_refused("a/b")
    refusals.record()
    assert refusals.is_refused("a/b")


def test_a_refusal_of_a_model_holds_for_that_model_only() -> None:
    refusals = RecentRefusals()
    refusals.record("a/b")
    assert (refusals.is_refused("a/b"), refusals.is_refused("a/c")) == (True, False)
