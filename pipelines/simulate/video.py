"""A patient watching an exercise video: the events a player sends, and the truth they came from.

Belongs here: a player that follows a script and tells what it does as the portal's player would. Does not belong
here: sending (``player.py``), what the events mean (``pipelines.media``, which is tested against the truth told here).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from uuid import UUID

import numpy as np

from pipelines.media import schema

HEARTBEAT_S: Final = schema.Heartbeat.interval_seconds
MILESTONES: Final = (25, 50, 75, 95)
LADDER: Final = ((800_000, "480p"), (2_500_000, "720p"), (5_000_000, "1080p"))
FRAMES_PER_SECOND: Final = 25


@dataclass(frozen=True, slots=True)
class Play:
    """Play for so many seconds, or to the end of the video if it comes first."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stall:
    """The buffer runs empty for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """The patient pauses for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Seek:
    """The patient jumps to a position."""

    to_seconds: float


@dataclass(frozen=True, slots=True)
class Switch:
    """The player switches to another rung of ``LADDER``."""

    level: int


Action: TypeAlias = Play | Stall | Pause | Seek | Switch


@dataclass(slots=True)
class Showing:
    """What was sent, in order, and what truly happened. Times in seconds."""

    events: list[schema.MediaEvent] = field(default_factory=list)
    watched_s: float = 0.0
    intervals: list[tuple[float, float]] = field(default_factory=list)  # of the video, played; may overlap
    stalls_s: list[float] = field(default_factory=list)
    level_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Video:
    """One view of one video being played. ``optional_events``: whether the player also tells play, pause and seek."""

    session_id: UUID
    media_id: str
    began_at: dt.datetime
    total_s: float
    optional_events: bool = True
    level: int = 1
    showing: Showing = field(default_factory=Showing)
    _now_s: float = 0.0
    _position_s: float = 0.0
    _next_heartbeat_s: float = HEARTBEAT_S
    _reached: int = 0  # how many milestones

    def watch(self, script: Sequence[Action], load_ms: float = 900.0, ends: bool = True) -> Showing:
        """Play the script through. ``ends`` False: the browser is closed and no session_end is sent."""
        start = schema.SessionStartData(
            total_duration_seconds=self.total_s,
            ttfb_ms=round(load_ms * 0.3, 1),
            video_load_time_ms=load_ms,
            cdn_response_time_ms=round(load_ms * 0.2, 1),
            connection_type="wifi",
            effective_bandwidth=12.5,
            rtt_ms=45.0,
        )
        self._send(schema.SessionStart, media_id=self.media_id, media_type="video", data=start)
        if self.optional_events:
            self._send(schema.Play, data=self._here())
        for action in script:
            self._act(action)
        if ends:
            figures = self._figures()
            done = self._position_s >= 0.95 * self.total_s
            data = schema.SessionEndData(completed=done, **{name: getattr(figures, name) for name in _FIGURES})
            self._send(schema.SessionEnd, data=data)
        return self.showing

    def _act(self, action: Action) -> None:
        match action:
            case Play(seconds):
                self._pass(seconds, playing=True)
            case Stall(seconds):
                self._send(schema.BufferingStart, data=self._here())
                self._pass(seconds, playing=False)
                self.showing.stalls_s.append(seconds)
                ended = schema.BufferingEndData(position_seconds=self._position_s, duration_ms=seconds * 1000)
                self._send(schema.BufferingEnd, data=ended)
            case Pause(seconds):
                if self.optional_events:
                    self._send(schema.Pause, data=self._here())
                self._pass(seconds, playing=False)
                if self.optional_events:
                    self._send(schema.Play, data=self._here())
            case Seek(to_seconds):
                target = min(to_seconds, self.total_s)
                if self.optional_events:
                    self._send(schema.Seek, data=schema.SeekData(from_seconds=self._position_s, to_seconds=target))
                self._position_s = target
            case Switch(level):
                old, new = LADDER[self.level], LADDER[level]
                data = schema.QualityChangeData(
                    position_seconds=self._position_s,
                    from_bitrate=old[0],
                    to_bitrate=new[0],
                    from_resolution=old[1],
                    to_resolution=new[1],
                    reason="abr",
                )
                self._send(schema.QualityChange, data=data)
                self.level = level

    def _pass(self, seconds: float, playing: bool) -> None:
        """Let time pass, stopping wherever there is something to tell."""
        until_s = self._now_s + seconds
        if playing:
            until_s = min(until_s, self._now_s + self.total_s - self._position_s)
        while self._now_s < until_s:
            step_s = min(until_s, self._next_heartbeat_s) - self._now_s
            ahead_s = self._milestone_s() - self._position_s
            reaches = playing and 0 < ahead_s <= step_s
            step_s = ahead_s if reaches else step_s
            if playing:
                self._play(step_s)
            self._now_s += step_s
            if reaches:
                data = schema.MilestoneData(percent=MILESTONES[self._reached], position_seconds=self._position_s)
                self._reached += 1
                self._send(schema.Milestone, data=data)
            if self._now_s >= self._next_heartbeat_s - 1e-9:
                self._next_heartbeat_s += HEARTBEAT_S
                self._send(schema.Heartbeat, data=self._figures())

    def _play(self, seconds: float) -> None:
        name = LADDER[self.level][1]
        self.showing.intervals.append((self._position_s, self._position_s + seconds))
        self.showing.watched_s += seconds
        self.showing.level_seconds[name] = self.showing.level_seconds.get(name, 0.0) + seconds
        self._position_s = min(self._position_s + seconds, self.total_s)

    def _milestone_s(self) -> float:
        """Where the next milestone is; one jumped over is not told."""
        while self._reached < 4 and MILESTONES[self._reached] * self.total_s / 100 <= self._position_s:
            self._reached += 1
        return MILESTONES[self._reached] * self.total_s / 100 if self._reached < 4 else np.inf

    def _here(self) -> schema.PositionData:
        return schema.PositionData(position_seconds=self._position_s)

    def _figures(self) -> schema.PlaybackData:
        bitrate, resolution = LADDER[self.level]
        frames = int(self.showing.watched_s * FRAMES_PER_SECOND)
        return schema.PlaybackData(
            position_seconds=self._position_s,
            watched_duration_seconds=self.showing.watched_s,
            completion_percent=min(100.0, 100 * self._position_s / self.total_s),
            buffering_count=len(self.showing.stalls_s),
            buffering_duration_ms=sum(self.showing.stalls_s) * 1000,
            current_bitrate=bitrate,
            current_resolution=resolution,
            dropped_frames=frames // 300,
            total_frames=frames,
        )

    def _send(self, kind: type[schema.MediaEvent], **fields: object) -> None:
        at = self.began_at + dt.timedelta(seconds=self._now_s)
        self.showing.events.append(kind(session_id=self.session_id, timestamp=at, **fields))  # type: ignore[arg-type]


_FIGURES: Final = schema.PlaybackData.__struct_fields__


def ordinary_script(rng: np.random.Generator, total_s: float, lasts_s: float) -> list[Action]:
    """What usually happens within ``lasts_s`` seconds: a few stalls, a switch or two, perhaps a pause."""
    script: list[Action] = []
    left_s, to_play_s = lasts_s, total_s
    level = 1
    while min(left_s, to_play_s) > 0.05:
        seconds = round(float(min(left_s, to_play_s, rng.uniform(4, 15))), 2)
        script.append(Play(seconds))
        left_s, to_play_s = left_s - seconds, to_play_s - seconds
        chance = rng.random()
        wait_s = 0.0
        if chance < 0.15:
            wait_s = round(float(min(max(left_s, 0), rng.uniform(0.2, 3))), 2)
            script.append(Stall(wait_s))
        elif chance < 0.35:
            level = int(np.clip(level + rng.choice([-1, 1]), 0, len(LADDER) - 1))
            script.append(Switch(level))
        elif chance < 0.4:
            wait_s = round(float(min(max(left_s, 0), rng.uniform(1, 5))), 2)
            script.append(Pause(wait_s))
        left_s -= wait_s
    return script
