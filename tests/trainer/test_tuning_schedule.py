import pytest

from models_store.errors import BadInputError
from trainer.tuning.schedule import row_seconds, schedule_for
from trainer.tuning.settings import TuneSettings


def schedule(images, rows=None, strategy="vpt", seconds=120.0):
    return schedule_for(images=images, rows=rows or images, strategy=strategy, seconds=seconds)


class TestScheduleFor:
    def test_the_same_data_and_budget_give_the_same_schedule(self):
        assert schedule(14) == schedule(14)

    @pytest.mark.parametrize("images", [1, 2, 14, 31, 32, 200, 5000])
    @pytest.mark.parametrize("seconds", [1.0, 30.0, 120.0, 3600.0])
    @pytest.mark.parametrize("strategy", ["vpt", "coop", "shared_attention"])
    def test_is_always_acceptable_as_settings(self, images, seconds, strategy):
        made = schedule(images, rows=2 * images, strategy=strategy, seconds=seconds)
        TuneSettings(strategy=strategy, **made.settings()).check()

    @pytest.mark.parametrize("images", [14, 60, 200, 5000])
    def test_a_typical_machine_gets_through_it_within_the_budget(self, images):
        made = schedule(images)
        steps = made.epochs * made.max_steps
        # An epoch is the unit, so half of one may be too much.
        assert steps * made.batch_size * row_seconds("vpt") <= 120 + made.max_steps * made.batch_size * 0.1
        assert made.epochs >= 8

    def test_few_images_are_shown_in_small_batches_and_many_in_short_epochs(self):
        few, many = schedule(14), schedule(5000)
        assert (few.batch_size, many.batch_size) == (4, 8)
        assert many.max_steps * many.batch_size < 5000

    def test_a_longer_budget_never_shortens_training(self):
        steps = [
            (made := schedule(200, seconds=seconds)).epochs * made.max_steps
            for seconds in (30, 120, 600, 7200)
        ]
        assert steps == sorted(steps)
        assert steps[0] < steps[-1]

    def test_views_that_would_be_shown_once_are_not_made(self):
        assert schedule(14).views == 4
        assert schedule(5000).views == 1

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_budget_that_is_none_is_refused(self, seconds):
        with pytest.raises(BadInputError, match="budget"):
            schedule(14, seconds=seconds)

    def test_no_images_are_refused(self):
        with pytest.raises(BadInputError, match="0 rows of 0 images"):
            schedule_for(images=0, rows=0, strategy="vpt", seconds=120)
