/**
 * The rounds: within each, the subjects take turns on every series, another one first each time, so that what else the machine does
 * hits all alike. What a pass has done is held against the image's own listing: who skips work fails the bench.
 */
import { LaminaError } from '../errors.js';
import { dropCaches } from './machine.js';
import type { Series, Step } from './scenarios.js';
import type { Unit } from './statistics.js';
import type { Session, Subject, Timed } from './subject.js';

export interface Sample {
  scenario: string;
  metric: string;
  title: string;
  subject: string;
  /** 0 is the first. */
  round: number;
  unit: Unit;
  value: number;
  operations: number;
  bytes: number;
}

export interface Rounds {
  runs: number;
  /** Whether the caches can be emptied. */
  drop: boolean;
  signal: AbortSignal;
  onProgress(done: number, total: number, what: string): void;
}

/** @param able the subjects that can show the target of each series. Raises EBENCH, and what mounting raises. */
export async function measure(
  series: readonly Series[],
  able: (series: Series) => readonly Subject[],
  { runs, drop, signal, onProgress }: Rounds,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const total = runs * series.reduce((sum, one) => sum + able(one).length, 0);
  let done = 0;
  for (let round = 0; round < runs; round++) {
    for (const one of series) {
      const subjects = able(one);
      for (let turn = 0; turn < subjects.length; turn++) {
        const subject = subjects[(turn + round) % subjects.length]!;
        signal.throwIfAborted();
        onProgress(done++, total, `${one.steps.at(-1)!.title}: ${subject.name}`);
        samples.push(...(await inSession(one, subject, round, { drop, signal })));
      }
    }
  }
  return samples;
}

async function inSession(
  series: Series,
  subject: Subject,
  round: number,
  { drop, signal }: Pick<Rounds, 'drop' | 'signal'>,
): Promise<Sample[]> {
  const session = await subject.open(series.target);
  const samples: Sample[] = [];
  let failure: unknown;
  try {
    for (const step of series.steps) {
      if (drop && step.forgotten !== 'nothing') await dropCaches(step.forgotten, signal);
      const sample = await takeStep(session, step, subject.name);
      if (sample !== undefined) samples.push({ scenario: series.scenario, round, ...sample });
    }
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    // What ended the session is the reason, not that it could not be closed then.
    await session.close().catch((error: unknown) => {
      if (failure === undefined) throw error;
    });
  }
  return samples;
}

async function takeStep(
  session: Session,
  step: Step,
  subject: string,
): Promise<Omit<Sample, 'scenario' | 'round'> | undefined> {
  const timed = await session.run(step.pass);
  checkWork(step, timed, subject);
  if (step.metric === undefined) return undefined;
  const { metric, title, unit } = step;
  const { seconds, operations, bytes } = timed;
  const value = unit === 's' ? seconds : (seconds / operations) * 1e6;
  return { metric, title, subject, unit, value, operations, bytes };
}

/** Raises EBENCH when a pass has not met what the image holds. */
export function checkWork(step: Step, done: Timed, subject: string): void {
  const { operations, bytes } = step.pass.expected;
  if (done.operations === operations && done.bytes === bytes) return;
  throw new LaminaError(
    'EBENCH',
    `${subject}, ${step.title}: found ${done.operations} names with ${done.bytes} bytes, where the image has ${operations} with ${bytes}`,
  );
}
