/**
 * `npm run bench -- [--write | --read] [--only METRIC,...] [--subjects NAME,...] [--places disk,tmpfs] [--rounds N] [--work DIR]
 * [--nice=N] [--lamina-options LIST] [--no-record]`
 *
 * Scenarios x subjects x rounds in one run, interleaved: each round visits every subject, starting with another one each
 * time, so that what else the machine does hits all of them alike. Cold means a fresh mount and dropped dentries and
 * inodes; the page cache of the sources (archive, unpacked layers) stays warm throughout. The load is made by another
 * program. Raw samples are appended to bench/results. Linux and root.
 */
import { parseArgs } from 'node:util';
import { Context } from './lib/passes.js';
import { setPriority } from './lib/priority.js';
import { environment, record, table } from './lib/report.js';
import { DEFAULT_WORK } from './lib/work.js';
import { image } from './images/recipes.js';
import { PLACES } from './lib/places.js';
import { SCENARIOS } from './scenarios/all.js';
import { ONLY_WHEN_NAMED, SUBJECTS } from './subjects/index.js';

function options() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      subjects: { type: 'string' },
      places: { type: 'string', default: PLACES.join(',') },
      'lamina-options': { type: 'string', default: '' },
      nice: { type: 'string', default: '0' },
      write: { type: 'boolean', default: false },
      read: { type: 'boolean', default: false },
      rounds: { type: 'string', default: '3' },
      work: { type: 'string', default: DEFAULT_WORK },
      'no-record': { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds: expected a number of rounds, got ${values.rounds}`);
  const places = split(values.places);
  refuseUnknown(places, PLACES, 'place');
  return {
    ...values,
    rounds,
    places,
    laminaOptions: split(values['lamina-options']),
    only: split(values.only),
    subjects: split(values.subjects),
  };
}

const split = (list) => (list === undefined ? undefined : list.split(',').filter((word) => word !== ''));

function refuseUnknown(names, known, what) {
  const unknown = (names ?? []).filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`no ${what} ${unknown.join(', ')}; there are ${known.join(', ')}`);
}

/** Those that were named; else the groups that were asked for, which are both when none is. */
function chooseScenarios({ only, read, write }) {
  refuseUnknown(
    only,
    SCENARIOS.flatMap((scenario) => [scenario.name, ...scenario.metrics]),
    'scenario',
  );
  if (only === undefined) {
    const both = read === write;
    return SCENARIOS.filter((scenario) => both || (scenario.group === 'write') === write);
  }
  return SCENARIOS.filter((scenario) =>
    [scenario.name, ...scenario.metrics].some((name) => only.includes(name)),
  );
}

const canTake = (scenario, subject) =>
  subject[scenario.group === 'write' ? 'mountWritable' : 'mount'] !== undefined;

function chooseSubjects(names) {
  refuseUnknown(
    names,
    SUBJECTS.map((subject) => subject.name),
    'subject',
  );
  return SUBJECTS.filter((subject) => names?.includes(subject.name) ?? !ONLY_WHEN_NAMED.has(subject.name));
}

/** Subjects that can run; the others are named once with the reason. */
function present(subjects, reported) {
  return subjects.filter((subject) => {
    const reason = subject.missing();
    if (reason !== undefined && !reported.has(subject.name)) {
      reported.add(subject.name);
      process.stderr.write(`${subject.name} is left out: ${reason}\n`);
    }
    return reason === undefined;
  });
}

/** A sample that fails ends the run with status 1, but not before the others were taken. */
async function attempt(scenario, context, subject, built) {
  try {
    return await scenario.measure(context, subject, built);
  } catch (error) {
    process.stderr.write(`${scenario.name} ${subject.name}: ${error.message}\n`);
    process.exitCode = 1;
    return [];
  }
}

/** All subjects must have done the same work: the same number of operations and bytes. */
function checkSame(expected, measurement, subject) {
  if (measurement.check === undefined) return;
  const key = `${measurement.metric} ${measurement.image}`;
  const before = expected.get(key);
  if (before === undefined) expected.set(key, { check: measurement.check, subject });
  else if (before.check !== measurement.check) {
    throw new Error(`${key}: ${subject} did ${measurement.check}, ${before.subject} ${before.check}`);
  }
}

function sampleOf(measurement, { scenario, built, subject, round }) {
  const { metric, value, unit, image: of, operations, requests, serverSec } = measurement;
  return {
    scenario: scenario.name,
    metric,
    image: `${of}-v${built.version}`,
    subject: subject.name,
    round,
    value,
    unit,
    ...(operations && { operations }),
    ...(serverSec !== undefined && { serverSec }),
    ...(requests && { requests }),
  };
}

async function main() {
  const chosenOptions = options();
  const { subjects: names, rounds, work, places, nice, laminaOptions, 'no-record': quiet } = chosenOptions;
  if (process.platform !== 'linux' || process.getuid() !== 0)
    throw new Error('the benches mount filesystems and drop caches: run them on Linux as root');
  const context = new Context(work, { places, laminaOptions });
  const scenarios = chooseScenarios(chosenOptions);
  const chosen = chooseSubjects(names);
  if (nice !== '0') setPriority(Number(nice));
  const about = {
    ...environment(),
    ...(nice !== '0' && { nice: Number(nice) }),
    ...(laminaOptions.length > 0 && { laminaOptions }),
  };
  if (about.loadBefore > about.cpus / 2)
    process.stderr.write(`the machine is busy (load ${about.loadBefore}): such figures show little\n`);
  const samples = [];
  const reported = new Set();
  const expected = new Map();

  // What was measured before something failed is shown and kept as well.
  try {
    for (let round = 0; round < rounds; round++) {
      for (const scenario of scenarios) {
        const able = chosen.filter((subject) => canTake(scenario, subject));
        const subjects = present(scenario.subjects?.(able) ?? able, reported);
        for (const name of scenario.images) {
          const built = await image(work, name);
          for (let i = 0; i < subjects.length; i++) {
            const subject = subjects[(i + round) % subjects.length];
            process.stderr.write(
              `round ${round + 1}/${rounds}  ${scenario.name}  ${name}  ${subject.name}\n`,
            );
            const taken = [];
            for (const measurement of await attempt(scenario, context, subject, built)) {
              checkSame(expected, measurement, subject.name);
              taken.push(sampleOf(measurement, { scenario, built, subject, round }));
            }
            samples.push(...taken);
            // At once: a run that is killed has not been for nothing.
            if (!quiet) record(taken, about);
          }
        }
      }
    }
  } finally {
    process.stdout.write(
      `${about.date}  commit ${about.commit}  Linux ${about.kernel}  Node ${about.node}  ${about.cpus} CPUs\n\n`,
    );
    process.stdout.write(`${table(samples)}\n`);
  }
}

main().catch((error) => {
  process.stderr.write(`bench: ${error.message}\n`);
  process.exitCode = 1;
});
