"""Firewalls of hosts, as their makers write them and as people do, and what they do to VIPs.

VIPs in `Firewall.passes` are of the mark 17; the client is behind eth0.
"""

from typing import NamedTuple

from tests.harness.netns import Namespace


class Firewall(NamedTuple):
    """Commands that make one; whether a connection to a VIP passes; the chain that is to be named.

    Where `place` is None, nobody can tell from outside.
    """

    text: str
    passes: bool
    place: str | None = ""
    tool: str = ""  # "nft" or "legacy": iptables

    def load(self, host: Namespace) -> None:
        """Have a host have it."""
        if not self.tool:
            host.run(["nft", "-f", "-"], input=self.text)
            return
        for line in filter(None, self.text.splitlines()):
            for tool in self.tools():
                host.run([tool, "-w", *line.split()])

    def tools(self) -> tuple[str, str]:
        """Those of both IP versions."""
        return f"iptables-{self.tool}", f"ip6tables-{self.tool}"

    def clear(self, host: Namespace) -> None:
        """Take it away."""
        if self.tool == "legacy":
            for tool in self.tools():
                for words in ("-P INPUT ACCEPT", "-P FORWARD ACCEPT", "-F INPUT", "-F", "-X"):
                    host.run([tool, "-w", *words.split()])
            return
        for table in host.run(["nft", "list", "tables"]).stdout.splitlines():
            if "vipctl" not in table and "probe" not in table:
                host.run(["nft", "delete", *table.split()])


def own(*rules: str, policy: str = "drop", priority: str = "0", more: str = "") -> str:
    """The text of a table with a chain at INPUT."""
    lines = "\n".join(rules)
    return f"""table inet mine {{
        {more}
        chain in {{ type filter hook input priority {priority}; policy {policy};
        {lines}
        }}
    }}"""


USUAL = "ct state established,related accept", "iif lo accept", "tcp dport 22 accept"
ICMP6 = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept"
FIREWALLD = """
table inet firewalld {
    chain filter_PREROUTING { type filter hook prerouting priority -290; policy accept;
        icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
        meta nfproto ipv6 fib saddr . mark . iif oif missing drop
    }
    chain filter_INPUT { type filter hook input priority 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        ct state invalid drop
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_INPUT_ZONES { iifname "eth0" goto filter_IN_public
        goto filter_IN_public
    }
    chain filter_IN_public { jump filter_IN_public_pre
        jump filter_IN_public_allow
        jump filter_IN_public_post
        meta l4proto { icmp, ipv6-icmp } accept
        reject with icmpx admin-prohibited
    }
    chain filter_IN_public_pre {
    }
    chain filter_IN_public_post {
    }
    chain filter_IN_public_allow { tcp dport 22 accept
        ip6 daddr fe80::/64 udp dport 546 accept
        %s
    }
    chain filter_FORWARD { type filter hook forward priority 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        ct state invalid drop
        reject with icmpx admin-prohibited
    }
    chain filter_OUTPUT { type filter hook output priority 10; policy accept;
        ct state { established, related } accept
        oifname "lo" accept
    }
}
"""
UFW = """
table inet filter {
    chain ufw-not-local {
        fib daddr type local return
        fib daddr type { broadcast, multicast } return
        counter drop
    }
    chain ufw-before-input { %s
        jump ufw-not-local
    }
    chain INPUT {
        type filter hook input priority 0;
        %s
        jump ufw-before-input
    }
}
"""
IPTABLES = """
-P INPUT DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
"""
REJECTING = """
-N PORTS
-A PORTS -p tcp -m multiport --dports 22,443,8000:8999 -j ACCEPT
-A PORTS -m mark --mark 0x7/0xff -j RETURN
-A PORTS -m mark ! --mark 0x20/0x20 -j REJECT
-A INPUT ! -i lo -j PORTS
"""
FIREWALLS = {
    "nothing but a policy": Firewall(own(ICMP6), False, "in"),
    "the usual": Firewall(own(*USUAL, ICMP6), False, "in"),
    "a mark": Firewall(own(*USUAL, ICMP6, "meta mark 17 accept"), True),
    "a block of marks": Firewall(own(*USUAL, ICMP6, "meta mark & 0xffffff80 == 0 accept"), True),
    "another block": Firewall(own(ICMP6, "meta mark & 0xffffff80 == 0x1000 accept"), False, "in"),
    "a range of marks": Firewall(own(ICMP6, "meta mark 16-20 accept"), True),
    "marks beside": Firewall(own(ICMP6, "meta mark { 18, 20-30 } accept"), False, "in"),
    "marks among": Firewall(own(ICMP6, "meta mark { 10-17, 20-30 } accept"), True),
    "new connections": Firewall(
        own("ct state vmap { established: accept, new: accept, invalid: drop }"), True
    ),
    "states without new": Firewall(
        own(ICMP6, "ct state vmap { established: accept, related: accept, invalid: drop }"),
        False, "in",
    ),
    "other ports": Firewall(own(ICMP6, "tcp dport { 22, 443, 8000-8999 } accept"), False, "in"),
    "the port": Firewall(own(ICMP6, "tcp dport { 22, 80, 8000-8999 } accept"), True),
    "ports around it": Firewall(own(ICMP6, "tcp dport 1-1023 accept"), True),
    "all but the port": Firewall(own("tcp dport 80 drop", policy="accept"), False, "in"),
    "all but others": Firewall(own("tcp dport != 80 drop", policy="accept"), True),
    "the device": Firewall(own(ICMP6, 'iifname "eth0" accept'), True),
    "a kind of device": Firewall(own(ICMP6, 'iifname "eth*" accept'), True),
    "another device": Firewall(own(ICMP6, 'iifname { "lo", "eth7" } accept'), False, "in"),
    "ports by device": Firewall(
        own(ICMP6, 'iifname vmap { "eth0": jump outside, "eth7": accept }',
            more="chain outside { udp dport 53 accept; }"),
        False, "in",
    ),
    "a late rejection": Firewall(
        own(*USUAL, ICMP6, "reject with icmpx admin-prohibited", policy="accept", priority="10"),
        False, "in",
    ),
    "behind a return": Firewall(
        own("jump first", policy="accept",
            more="chain first { meta mark 17 return; meta l4proto tcp drop; }"),
        True,
    ),
    "the other protocol": Firewall(own("meta l4proto udp drop", policy="accept"), True),
    "the range": Firewall(
        own(ICMP6, "ip daddr 203.0.113.0/24 accept", "ip6 daddr 2001:db8:1::/64 accept"), True
    ),
    "another range": Firewall(
        own(ICMP6, "ip daddr 198.51.100.0/24 accept", "ip6 daddr 2001:db8:2::/64 accept"),
        False, "in",
    ),
    "a set of others'": Firewall(
        own(ICMP6, "tcp dport @mine accept",
            more="set mine { type inet_service; elements = { 443 }; }"),
        False, None,
    ),
    "some clients": Firewall(
        own(ICMP6, "ip saddr 192.0.2.0/24 accept", "ip6 saddr 2001:db8:9::/64 accept"),
        False, None,
    ),
    "not those clients": Firewall(
        own("ip saddr 192.0.2.0/24 drop", "ip6 saddr 2001:db8:9::/64 drop", policy="accept"), True
    ),
    "back for some clients": Firewall(
        own("jump first", policy="accept", more="""chain first {
            ip saddr 10.0.0.0/24 return; ip6 saddr fd00::/64 return; meta l4proto tcp drop; }"""),
        True,
    ),
    "marks side by side": Firewall(
        own(ICMP6, "meta mark vmap { 10-16 : drop, 17-20 : accept }"), True
    ),
    "not tracked": Firewall(
        own(ICMP6, "ct state untracked accept",
            more="chain raw { type filter hook prerouting priority -300; notrack; }"),
        True,
    ),
    "firewalld": Firewall(FIREWALLD % "", False, "filter_IN_public"),
    "firewalld with the port": Firewall(FIREWALLD % "tcp dport 80 accept", True),
    "ufw": Firewall(UFW % ("", ""), False, "ufw-not-local"),
    "ufw with the mark": Firewall(UFW % ("meta mark 17 accept", ""), True),
    "ufw, and ours before it": Firewall(UFW % ("", "meta mark 17 accept"), True),
    "iptables-nft": Firewall(IPTABLES, False, "INPUT", "nft"),
    "iptables-nft with the mark": Firewall(
        IPTABLES + "-A INPUT -m mark --mark 17 -j ACCEPT", True, tool="nft"
    ),
    "iptables-nft, a chain": Firewall(REJECTING, False, "PORTS", "nft"),
    "iptables-legacy": Firewall(IPTABLES, False, "INPUT", "legacy"),
    "iptables-legacy with the mark": Firewall(
        IPTABLES + "-A INPUT -m mark --mark 0x10/0xf0 -j ACCEPT", True, tool="legacy"
    ),
    "iptables-legacy, a chain": Firewall(REJECTING, False, "PORTS", "legacy"),
    "iptables-legacy, ports": Firewall(
        "-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 1:1023 -j ACCEPT", True, tool="legacy"
    ),
    "iptables-legacy, other ports": Firewall(
        "-A INPUT -p tcp -m tcp ! --dport 22 -j DROP", False, "INPUT", "legacy"
    ),
    "iptables-legacy, not local": Firewall(
        "-A INPUT ! -i lo -p tcp -m addrtype ! --dst-type LOCAL -j DROP", False, "INPUT", "legacy"
    ),
}  # fmt: skip
