"""Check dns: a name is looked up, and there are records of the wanted type."""

import sys

from vipctl.probing.asking import Asking, Failed, Unasked
from vipctl.probing.datagrams import exchanged

LACKING = (
    "dnspython, which reads answers of DNS, is not installed: "
    f"{sys.prefix}/bin/pip install dnspython"
)


async def ask(asking: Asking) -> str:
    check = asking.check
    try:
        import dns.exception
        import dns.message
        import dns.rcode
    except ImportError as e:
        raise Unasked(LACKING) from e
    try:
        question = dns.message.make_query(check.what, check.record)
        answer = dns.message.from_wire(await exchanged(asking, question.to_wire()))
    except dns.exception.DNSException as e:
        raise Failed(f"the answer is not DNS: {e}") from e
    code = dns.rcode.to_text(answer.rcode())
    if not question.is_response(answer):
        raise Failed("the answer is to another question")
    if code != "NOERROR" or not answer.answer:
        raise Failed(f"{check.what} {check.record}: {code}, {len(answer.answer)} answers")
    return f"answers {check.what} {check.record}"
