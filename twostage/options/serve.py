"""What `twostage serve` can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from twostage.options.field import option, part

__all__ = ["LimitsConfig", "ServeConfig", "ServeRuntimeConfig"]


@dataclass
class ServeRuntimeConfig:
    """Where and how the server computes."""

    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    threads: int = option(0, "processor threads; 0: one per core", 0, 4096)
    precision: str = option("float32", "of the backbone", choices="float32 bfloat16")


@dataclass
class LimitsConfig:
    """How much anyone may send; what goes beyond is answered with the reason, while it is being sent."""

    file_mb: float = option(50.0, "largest file, million bytes (413)", 0.001, 200.0)
    files: int = option(100, "most files in a request (413)", 1, 10_000)
    request_mb: float = option(200.0, "largest request, million bytes (413)", 0.001, 100_000.0)
    seconds: float = option(60.0, "longest time to send a request (408)", 0.1, 3600.0)
    requests: int = option(64, "most requests to read that are answered at a time (503)", 1, 10_000)
    client_requests: int = option(32, "most of them from one address (429)", 1, 10_000)
    held_mb: float = option(500.0, "most that all of them together may have sent, million bytes (503)", 0.001, 1e6)


@dataclass
class ServeConfig:
    """Options of `twostage serve`."""

    run: str = option("latest", "the run (or model folder) that reads", place=True)
    port: int = option(7860, "where to listen; 0: a free one", 0, 65_535)
    host: str = option("127.0.0.1", "address to listen at; any other than this computer's own demands a token")
    token: str | None = option(
        None, "what requests must carry, 16 letters or more; null: one is made and shown where one is demanded"
    )
    confidence: float | None = option(
        None, "of the intervals, if the specimens for calibration were enough; default: as in training", 0.01, 0.999
    )
    log: bool = option(False, "one line for each request")
    limits: LimitsConfig = part(LimitsConfig)
    runtime: ServeRuntimeConfig = part(ServeRuntimeConfig)
