"""What people read of the daemons that run beside commands: the relay, and `vipctl watch`."""

from collections.abc import Iterator

from vipctl.operate.outcome import Report


def relay(found: Report | None) -> list[str]:
    """The daemon that carries the sync, and how it stands with each peer."""
    if found is None:
        return []
    if not found["answers"]:
        return ["relay: the daemon runs, but does not answer"]
    takes = "takes records" if found["heard"] else "takes no records (vipctl set-sync)"
    first = f"relay: process {found['pid']} on {found['device']}, where the kernel {takes}"
    return [first, *(_peer(name, peer) for name, peer in found["peers"].items())]


def _peer(name: str, peer: Report) -> str:
    gets, sends = ("" if peer[key] else "no " for key in ("there", "sends"))
    refused = sum(peer["refused"].values())
    return (
        f"  {name} gets {gets}records, sends {sends}records; {peer['taken']:,} taken, "
        f"{refused:,} refused, {peer['dropped']:,} messages dropped"
    )


def watch(found: Report | None) -> str:
    if found is None:
        return "nobody puts back what others change (vipctl watch does)"
    if not found["answers"]:
        return "the daemon runs, but does not answer"
    whose = f"process {found['pid']} since {found['since']}"
    if not found["ours"]:
        return f"another state directory is watched, {found['state_dir']}: {whose}"
    last = found["last"]
    done = f"; last, {last['at']}: {last['what']}" if last else ""
    return f"{whose}{', which only reports' if found['check'] else ''}{done}"


def beside(found: Report | None) -> Iterator[str]:
    """The device that the daemon has up while this director is fit, and VRRP, if any."""
    if device := found and found.get("alive"):
        why = "this director is fit" if device["fit"] else "; ".join(device["why"]) or "not yet"
        stands = "up" if device["fit"] else "down"
        yield f"{device['device']}: {stands} since {device['since']}: {why}"
    if found and (state := found.get("vrrp")) is not None:
        yield f"VRRP: {state or 'not known yet, and roles stay as they are'}"
