"""Notes that others signed, and keys for our own."""

from federation_core.transparency import Note, SigningKey, VerifierKey, sign_note

# The example of golang.org/x/mod/sumdb/note, where the format of C2SP signed-note comes from: two
# verifier keys, the seed of the first, a text, and the line of each under it.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = bytes.fromhex("810a1402d5146c8d84f2443330f54080ebf98ee17d9c74f6252fc5d5c7283173")
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdng"
    "otpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWL"
    "ox33WWd1RvMc+QQ=\n"
)
SIGNED = f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}".encode()

# The examples of C2SP signed-note and tlog-cosignature, whose keys are not published: a note with
# a blank line in its text, and a checkpoint with the line of its log and the one of a witness.
POEM = """\
Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0\
xMcXxj99ihAQwaqP3ZekRwNtIc=
""".encode()
SOFA_TEXT = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
"""
SOFA = f"""{SOFA_TEXT}
— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1g\
GzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyi\
n1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
""".encode()

LOG = "log.example/acme"
WITNESS = "witness.example/w1"
LOG_KEY = SigningKey.from_seed(b"l" * 32)
WITNESS_KEY = SigningKey.from_seed(b"w" * 32)
OTHER_KEY = SigningKey.from_seed(b"o" * 32)
LOG_VERIFIER = VerifierKey.of(LOG, LOG_KEY.public)


def signed(text: str, *names: str, key: SigningKey = LOG_KEY) -> Note:
    """The text, signed by `key` under each of these names."""
    return Note(text, tuple(sign_note(text, name, key) for name in names))
