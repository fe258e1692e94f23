"""Movement from landmarks: wire format, joint angles, repetitions, form scores, session summary. Pure; no I/O."""
