"""What a worker's operator has decided: which code may run, which text may be read, where files go."""

from dataclasses import dataclass, field
from pathlib import Path

from pacesetter.protocol import Trial


@dataclass(frozen=True, slots=True)
class JobAccess:
    """Where trials may register as jobs."""

    url: str
    """Of the controller, or ``local``."""
    folder: Path
    """For reports that wait while the controller is away: they outlive the trial."""
    token: str | None = field(default=None, repr=False)
    """Of scope ``register``; None where the controller asks for none."""


@dataclass(frozen=True, slots=True)
class Site:
    """The operator's part of every trial."""

    folder: Path
    """Checkpoints; shared between workers, a trial that moves goes on where it was."""
    allow: tuple[str, ...] = ()
    """Entry points ``module:function`` that may run beside the built-in proxies."""
    data: Path | None = None
    """Folder whose texts trials may name; None: built-in data alone."""
    jobs: JobAccess | None = None
    """None: no trial registers as a job."""

    def folder_of(self, trial: Trial) -> Path:
        """Return the folder of one trial, the same at every attempt."""
        return self.folder / "trials" / trial.experiment / str(trial.number)
