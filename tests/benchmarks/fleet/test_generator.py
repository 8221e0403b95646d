"""The fleet's jobs: frozen, and such as a team would have."""

from collections import Counter

from benchmarks.fleet.generator import FINAL_SEED, draw


def test_the_first_jobs_are_the_same_however_many_are_drawn() -> None:
    assert draw(1000, 8) == draw(1000, 40)[:8]
    assert draw(1000, 8) != draw(FINAL_SEED, 8)


def test_every_job_says_what_a_job_can_say_of_itself() -> None:
    for job in draw(1000, 40):
        target = job.target
        assert target.family
        assert target.batch_tokens is not None
        assert target.batch_tokens >= 4
        low, high = (800, 3200) if target.regime == "pretrain" else (300, 1200)
        assert low - 10 <= job.task.steps <= high + 10


def test_families_come_back_at_several_sizes_and_budgets() -> None:
    jobs = draw(1000, 40)
    families = Counter(job.target.family for job in jobs)
    assert len(families) == 4
    assert min(families.values()) >= 5
    for family in families:
        same = [job for job in jobs if job.target.family == family]
        assert len({job.task.steps for job in same}) > len(same) // 2
        assert len({job.task.recipe for job in same}) > len(same) // 2
