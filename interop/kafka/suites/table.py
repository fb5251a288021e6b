"""Makes the page of suites out of what their tests came to and the reasons for what fails. Fails at news."""

import collections
import pathlib
import subprocess
import sys

SUITES, RESULTS = map(pathlib.Path, sys.argv[1:])
WORDS = {"failed": "fails", "skipped": "not run"}

print("""# Suites of others

Tests that other projects have for their clients, against a real server, by `interop/kafka/suites/run`. What fails, or is not run, says why.""")
news = []
for results in sorted(RESULTS.iterdir()):
    about = subprocess.run([SUITES / results.name / "suite", "about"], check=True, capture_output=True, text=True).stdout.strip()
    reasons = dict(line.split("\t", 1) for line in (SUITES / results.name / "reasons.tsv").read_text().splitlines() if line)
    found = sorted({tuple(line.split("\t")[index] for index in (1, 2, 0)) for line in results.read_text().splitlines()})
    counts = collections.Counter(outcome for *_, outcome in found)
    summary = f"{counts['passed']} of {len(found)} pass"
    print(f"\n## {results.name}\n\n{about} {summary}.\n\n| file | test | outcome |\n|---|---|---|")
    for file, test, outcome in found:
        reason = reasons.get(test)
        if outcome == "passed":
            print(f"| {file} | {test} | ok |")
            continue
        print(f"| {file} | {test} | {WORDS[outcome]}: {reason or 'NOBODY KNOWS WHY'} |")
        if not reason:
            news.append(f"{results.name}: {test} {outcome}")
    if not counts["passed"]:
        news.append(f"{results.name}: nothing has passed")
    print(f"{results.name}: {summary}", file=sys.stderr)
if news:
    sys.exit("\n".join(news))
