/** A writable mount made for one sample: a fresh upper on disk or on tmpfs, taken away afterwards. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { placeDirectory } from './places.js';
import { prioritise } from './priority.js';
import { processorTime, serversOf } from './processes.js';
import { between } from './requests.js';
import { dropDentriesAndInodes, run, timed } from './system.js';

/**
 * Mounts the subject over the image with an empty upper in each place, calls `action(steps)` and takes everything away.
 * `lower` says that the scenario works on the image's own files: a plain directory then starts as a copy of them.
 * -> the measurements of the steps (Steps.step), their metrics marked with the place.
 */
export async function eachPlace(context, subject, image, { lower = false }, action) {
  context.warmSources(image);
  const measurements = [];
  for (const place of context.places) {
    const scratch = mkdtempSync(join(placeDirectory(context.work, place), 's-'));
    const at = Object.fromEntries(['mnt', 'upper', 'workdir'].map((name) => [name, join(scratch, name)]));
    try {
      for (const directory of Object.values(at)) mkdirSync(directory);
      const mount = subject.mountWritable(image, at.mnt, {
        ...at,
        scratch,
        work: context.work,
        lower,
        options: context.laminaOptions,
      });
      try {
        const steps = new Steps({ image, place, directory: at.mnt, scratch, mount });
        steps.settle();
        dropDentriesAndInodes();
        await action(steps);
        measurements.push(...steps.measurements);
      } finally {
        mount.umount();
      }
    } finally {
      rmSync(scratch, { recursive: true, force: true, maxRetries: 30 });
    }
  }
  return measurements;
}

/** What is done on one mount, one timed step after the other. */
class Steps {
  measurements = [];
  #image;
  #scratch;
  #mount;
  #servers;

  constructor({ image, place, directory, scratch, mount }) {
    this.#image = image;
    this.#scratch = scratch;
    this.#mount = mount;
    this.place = place;
    this.directory = directory;
    this.#servers = serversOf(directory);
    prioritise(this.#servers);
  }

  /** Dirty pages of what went before are written out before the clock starts, not while it runs. */
  settle() {
    run('sync', ['-f', this.#scratch]);
  }

  /** One measured step of `operations` operations; `action()` gives its seconds. */
  step(metric, operations, action) {
    this.settle();
    const before = this.#mount.counters?.();
    const serverTime = this.#serverTime();
    const value = action();
    const serverSec = this.#serverTime() - serverTime;
    const requests = before && between(before, this.#mount.counters());
    this.measurements.push({
      metric: `${metric}-${this.place}`,
      image: this.#image.name,
      unit: 's',
      value,
      operations,
      ...(this.#servers.length > 0 && { serverSec: Number(serverSec.toFixed(2)) }),
      ...(requests && { requests }),
    });
  }

  /** A server that keeps off the processor can still be slow; one that does not cannot be fast. */
  #serverTime() {
    return this.#servers.reduce((sum, pid) => sum + processorTime(pid), 0);
  }

  /** A step that is one program run from its start to its end. */
  program(metric, operations, program, args, options) {
    this.step(metric, operations, () => timed(program, args, options));
  }
}
