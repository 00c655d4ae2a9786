"""Agents and feedback, as IPVS follows them. One daemon for all of it."""

import socket
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.servers import ScriptedServer
from tests.harness.waiting import wait_until
from tests.vm.test_health import (
    ONE,
    PATIENCE,
    PORT,
    TWO,
    VIP,
    Client,
    serving,
    wait_for,
    watching,
    weights,
)
from vipctl.health.outliers import Count
from vipctl.operate.weighing import Weighing
from vipctl.state.store import Store

AGENT = 8675


class OneLine:
    """An agent: whoever connects is told the line of the moment."""

    def __init__(self, net: Lab, number: int, line: str) -> None:
        self.line = line
        self.server = ScriptedServer(net.reals[number], "0.0.0.0", AGENT, self._tell)

    def _tell(self, connection: socket.socket) -> None:
        connection.sendall(f"{self.line}\n".encode())


def counted(vipctl: Vipctl) -> list[Count]:
    """What IPVS has added up of each real server: it does so every two seconds."""
    with vipctl.host:
        with Store.read(vipctl.state_dir) as store:
            services = list(store.services().values())
        return list(Weighing(vipctl.state_dir).counted(services).values())


def test_an_agent_weighs_drains_and_revives_and_feedback_follows(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    options = ("--scheduler=wlc", f"--port=tcp/{PORT}", f"--agent={AGENT},every=1s")
    reals = (f"--real={ONE}:{PORT},weight=3", f"--real={TWO}:{PORT},weight=5")
    vipctl("add-range", VIP, "--service=web", *options, *reals)
    agents = [OneLine(net, 0, "50%"), OneLine(net, 1, "up 100%")]
    with serving(net, 0), serving(net, 1), watching(vipctl, tmp_path / "log"):
        wait_for(net, {ONE: 150, TWO: 500})
        client = Client(net.client)
        try:
            agents[0].line = "drain #backup"
            wait_for(net, {ONE: 0, TWO: 500})
            assert client.next() == {"real2": 20}
            vipctl("restore")
            assert weights(net) == {ONE: 0, TWO: 500}
            net.director.run(["ipvsadm", "-C"])
            wait_for(net, {ONE: 0, TWO: 500})
            agents[0].line = "ready 100%"
            wait_for(net, {ONE: 300, TWO: 500})
            assert client.next()["real1"] > 0
            vipctl("set-service", "web", "--feedback=load")
            agents[0].line = "4%"
            wait_until(lambda: weights(net)[ONE] <= 150, "it gets less", PATIENCE)
            assert 500 <= weights(net)[TWO] <= 2000
            wait_until(
                lambda: min(c.connections for c in counted(vipctl)) > 0, "added up", PATIENCE
            )
            assert min(count.each for count in counted(vipctl)) > 40
            vipctl("set-service", "web", "--agent=no", "--feedback=no")
            wait_for(net, {ONE: 3, TWO: 5})
        finally:
            client.close()
    for agent in agents:
        agent.server.close()
