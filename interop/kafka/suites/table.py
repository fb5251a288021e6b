"""Makes the table of a suite's tests out of pytest's summary and the reasons for what fails. Fails at news."""

import pathlib
import re
import sys

SUITE, OUTPUT, REASONS = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
LINE = re.compile(r"^(PASSED|FAILED|ERROR) test/integration/(\w+)\.py::(\S+)")

reasons = dict(line.split("\t", 1) for line in REASONS.read_text().splitlines() if line)
found = sorted({match.group(2, 3, 1) for match in map(LINE.match, OUTPUT.read_text().splitlines()) if match})
passed = sum(outcome == "PASSED" for *_, outcome in found)
news = []

print(f"""# Suites of others

{SUITE}: its own integration tests, against a real server, by `interop/kafka/suites/run`. {passed} of {len(found)} pass; those that need a
Kafka of their own and skip themselves are left out.

| file | test | outcome |
|---|---|---|""")
for file, test, outcome in found:
    reason = reasons.get(test)
    if outcome == "PASSED":
        print(f"| {file} | {test} | ok |")
    else:
        print(f"| {file} | {test} | {'fails: ' + reason if reason else 'FAILS'} |")
        news += [] if reason else [test]
if not found or news:
    sys.exit(f"no reason is known for {', '.join(news)}" if news else "no test has run")
