"""What REPORT.md tells its reader to type: the verifier, and without it the same by hand.

The commands are run by a test as they stand here. Which key of the trust text signed is read from
what it signed, as an auditor has a line there for each key that the log ever had.
"""

__all__ = ["HOW_TO_VERIFY"]

HOW_TO_VERIFY = r"""
1. Get the file of trusted keys (`trust.txt`) from the operator by another way than this pack, and
   the verifier from a place that you trust; it is one file, and needs Python 3.11 and nothing else.
   A copy of it is in the pack as `verify.py`: compare it before you run it.
2. Run it on the pack as you received it:

   ```sh
   python3 verify.py pack.zip --trust trust.txt
   ```

   It says `VALID` or `VALID_WITH_REDACTIONS`, or names the first thing that is wrong.

Without it, by hand, in a folder with the unpacked pack and the trust text:

```sh
sha256sum manifest.json        # the evidence pack hash; then every other file:
jq -r '.files | to_entries[] | "\(.value.sha256)  \(.key)"' manifest.json |
  sha256sum --check --quiet && echo every file is the one that the manifest names
for f in events/*.jsonl; do    # the hash of a stream's first event is the "prev" of its second
  (printf '\0'; head -n 1 "$f" | tr -d '\n') | sha256sum; sed -n 2p "$f" | jq -r .prev
done

check() {                      # the file $3 and its signature $4; the $1 line of trust.txt says
  rm -f key.pem                # what the public key of $2 is, and makes key.pem of it
  v=$(sed -n "s/^$1 *\([^ ]*\).*/\1/p" trust.txt | grep -F "$2+") || echo "trust.txt has no $1 $2"
  (printf '\60\52\60\5\6\3\53\145\160\3\41\0'
    printf '%s' "$v" | cut -d + -f 3- | base64 -d | tail -c 32) |
    openssl pkey -pubin -inform DER -out key.pem
  openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in "$3" -sigfile "$4"
  echo "  of $3, by $2"
}

# The checkpoint: what stands before the blank line is signed by the log that the first line names.
# Before the signature stand four bytes, which with that name are the id of the key.
o=$(head -n 1 log/checkpoint)
sed '/^$/,$d' log/checkpoint > checkpoint.txt
grep -F -- "— $o " log/checkpoint | cut -d ' ' -f 3 | base64 -d > checkpoint.note
tail -c 64 checkpoint.note > checkpoint.sig
k=$(head -c 4 checkpoint.note | od -An -tx1 | tr -d ' \n')
check log "$o+$k" checkpoint.txt checkpoint.sig

# The receipts of the runs that have ended, each with the id of the key that signed it.
find . -name '*.dsse.json' | sort | while read -r r; do
  jq -r .payload "$r" | base64 -d > receipt.json
  jq -r '.signatures[0].sig' "$r" | base64 -d > receipt.sig
  t=$(jq -r .payloadType "$r")
  printf 'DSSEv1 %d %s %d ' ${#t} "$t" "$(wc -c < receipt.json)" | cat - receipt.json > receipt.pae
  check issuer "$(jq -r '.signatures[0].keyid' "$r")" receipt.pae receipt.sig
  jq . receipt.json
done
```

This shows that the files belong together, and who signed the checkpoint and the receipts. That the
run was lawful and is in the log, only the verifier shows. Every format: `docs/evidence.md` of
Federation Core.""".removeprefix("\n")
