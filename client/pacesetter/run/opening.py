"""What happens once, before the first step: the initial state is kept, and the job registered."""

import logging
from dataclasses import dataclass

from pacesetter.errors import SnapshotError
from pacesetter.protocol import INITIAL
from pacesetter.run.conductor import Conductor
from pacesetter.run.job import Capacity, Job
from pacesetter.run.options import Options

logger = logging.getLogger("pacesetter")


@dataclass(frozen=True, slots=True)
class Opening:
    """Opens a session of a job.

    Attributes:
        conductor: Takes up what the service already has.
        options: How the run behaves.
        rollback: How states are to be kept; ``"none"`` if not at all.
        validates: Whether the training code can validate.
        world_size: Number of ranks.
    """

    conductor: Conductor
    options: Options
    rollback: str
    validates: bool
    world_size: int

    def open(self, job: Job, *, resumed: bool) -> None:
        """Keep the initial state, register, and take up the segments that are known.

        Raises:
            RegistrationRefused: The service will not steer this job as it was described.
            SnapshotError: No state can be kept, and the training code insists on it.
        """
        conductor = self.conductor
        follower = conductor.follower
        rollback = self._keep_initial_state(resumed)
        self._register(job, rollback)
        self._say_if_anew(resumed=resumed)
        conductor.reporter.session_began(
            follower.position, follower.running.seq, resumed=resumed, world_size=self.world_size
        )
        conductor.begin(self.options.waiting_seconds)

    def _keep_initial_state(self, resumed: bool) -> str:
        """Keep the very first state, so that a segment can start from it; return how states are kept from now on.

        Without room for it nothing is probed. A resumed session never had that state, and gives its name to no other:
        a segment from it is refused there.
        """
        if self.rollback == "none":
            return "none"
        states, follower = self.conductor.states, self.conductor.follower
        if resumed:
            failure = states.obstacle()
        else:
            document = {"position": follower.position, "step": 0, "tokens": 0}
            failure = states.save(INITIAL, document)
        if failure is None:
            if not resumed:
                follower.checkpoints[INITIAL] = follower.position
            return self.rollback
        if self.options.rollback_required:
            raise SnapshotError(failure)
        logger.warning("no probes in this run: %s", failure)
        states.store = None
        return "none"

    def _register(self, job: Job, rollback: str) -> None:
        conductor = self.conductor
        source, store = conductor.states.source, conductor.states.store
        capacity = Capacity(
            rollback=rollback,
            rewind=0 if source is None else source.rewind_batches,
            validate=self.validates,
            statistics=self.options.statistics,
            world_size=self.world_size,
            state_bytes=0 if store is None else store.state_bytes(),
            epoch_batches=None if source is None else source.epoch_batches,
            sharded=any(hasattr(each, "device_mesh") for each in conductor.rates.regulated),
        )
        groups = tuple(group.describe() for group in conductor.rates.groups)
        spec = job.spec(capacity.capabilities(), groups)
        conductor.judge.spec = spec
        conductor.orders.register(spec, self.options.register_seconds)

    def _say_if_anew(self, *, resumed: bool) -> None:
        """Warn of the usual slip at a restart: the weights may be loaded, and the run does not know its place."""
        registration = self.conductor.orders.registration
        if resumed or registration is None or registration.session_number == 1:
            return
        logger.warning(
            "job %s was started before, and this start begins at position 0: pass resume= what run.state_dict() "
            "returned to go on where a checkpoint stands, or another external_id for a new job",
            registration.job,
        )
