/** `lamina bench`: opens the image, makes ready who can show it, runs the rounds, and leaves nothing behind. */
import { join } from 'node:path';
import { LaminaError } from '../errors.js';
import { locateImage } from '../image/locate.js';
import { openImage } from '../image/open.js';
import { defaultRoot } from '../store/cache.js';
import { ImageStore } from '../store/image-store.js';
import { tagOf, writeDeepImages } from './deep-image.js';
import { listImage, workOf } from './listing.js';
import { machineFacts, mayDropCaches } from './machine.js';
import { measure } from './measure.js';
import type { BenchOptions } from './options.js';
import { summarize } from './report.js';
import type { BenchReport, SubjectReport } from './report.js';
import { depthSeriesOf, seriesOf } from './scenarios.js';
import type { Series } from './scenarios.js';
import { diskBytes, Unpacked } from './subjects/layers.js';
import { Lamina } from './subjects/lamina.js';
import { Library } from './subjects/library.js';
import { peer } from './subjects/peers.js';
import type { Preparation, Subject, Target } from './subject.js';
import { WorkDirectory } from './work-directory.js';

export interface BenchRun {
  /** Of the package, for the report. */
  version: string;
  /** Ends the bench; it cleans up and raises the signal's reason. */
  signal: AbortSignal;
  onProgress(done: number, total: number, what: string): void;
  /** Where what was made is kept, when that was asked for. */
  onKept(directory: string): void;
}

/**
 * Measures an image by any name that `openImage` takes. Raises what opening it raises, EBENCH when a subject did not do the
 * work that the image's own listing says, ENOIMAGE, EMOUNT, ENOSPC.
 */
export async function bench(name: string, options: BenchOptions, run: BenchRun): Promise<BenchReport> {
  const store = defaultRoot();
  const work = new WorkDirectory(options.workDirectory, store);
  const benched = new Bench(name, options, run, work);
  try {
    return await benched.run();
  } finally {
    benched.close();
    await work.close(options.keep);
    if (options.keep) run.onKept(work.path);
  }
}

class Bench {
  readonly #targets: Target[] = [];
  readonly #preparations = new Map<Target, Preparation>();

  constructor(
    private readonly name: string,
    private readonly options: BenchOptions,
    private readonly benchRun: BenchRun,
    private readonly work: WorkDirectory,
  ) {}

  async run(): Promise<BenchReport> {
    const { options, work } = this;
    const { version, signal, onProgress } = this.benchRun;
    onProgress(0, 0, 'opening the image');
    const own = await this.#open(this.name, 'image', this.#rootFor(this.name));
    const deep = await this.#openDeep(own);
    const series = [
      ...seriesOf(own, options, work.writeList),
      ...deep.flatMap((target) => depthSeriesOf(target, options, work.writeList)),
    ];
    if (series.length === 0)
      throw new LaminaError(
        'EBENCH',
        'there is nothing to measure: the image has nothing for these scenarios',
        {
          hint: 'The scenario "depth" needs --depth; all others need names or files in the image.',
        },
      );
    const drop = options.dropCaches && mayDropCaches();
    const machine = machineFacts(version, work.path, drop);
    const subjects = this.#subjects();
    const able = await this.#makeReady(subjects, series);
    const samples = await measure(series, (one) => able.get(one.target) ?? [], {
      runs: options.runs,
      drop,
      signal,
      onProgress,
    });
    const reports = subjects.map((subject) => this.#reports.get(subject.name)!);
    const present = reports.filter(({ reason }) => reason === undefined).map((report) => report.name);
    const reference = options.against.find((peerName) => present.includes(peerName));
    const { names, files, layerCount } = own.listing;
    return {
      version: 1,
      image: {
        name: this.name,
        id: own.opened.archived.imageId,
        layers: layerCount,
        names: names.length,
        files: files.length,
        bytes: workOf(files).bytes,
      },
      machine,
      runs: options.runs,
      quick: options.quick,
      ...(reference === undefined ? {} : { reference }),
      subjects: reports,
      results: summarize(samples, present, reference),
      samples,
    };
  }

  close(): void {
    for (const { opened } of this.#targets) opened.close();
  }

  /** Nothing of an archive is left in the user's cache; an image of the store is read where it is. */
  #rootFor(name: string): string | undefined {
    const located = locateImage(name, new ImageStore(defaultRoot()));
    return located.transport === 'store' ? undefined : this.work.file('root');
  }

  /** Opening takes what Lamina needs before a first mount: decompressing and indexing. */
  async #open(name: string, label: string, root: string | undefined): Promise<Target> {
    const { platform } = this.options;
    const start = process.hrtime.bigint();
    const opened = await openImage(name, {
      ...(root === undefined ? {} : { root }),
      ...(platform === undefined ? {} : { platform }),
    });
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    try {
      this.benchRun.signal.throwIfAborted();
      const bytes = root === undefined ? 0 : await diskBytes(root);
      // Now, so that no mount shares the machine with hashing.
      await opened.verify();
      const listing = listImage(await opened.toc(), opened.sources);
      const target: Target = { label, opened, listing, name, root, platform };
      this.#targets.push(target);
      this.#preparations.set(target, { seconds, bytes });
      return target;
    } catch (error) {
      opened.close();
      throw error;
    }
  }

  async #openDeep(own: Target): Promise<Target[]> {
    if (this.options.depths.length === 0 || !this.options.only.includes('depth')) return [];
    const { signal, onProgress } = this.benchRun;
    onProgress(0, 0, 'making deeper images');
    const layout = this.work.directory('deep');
    const depths = await writeDeepImages(own.opened, own.listing, this.options.depths, layout, signal);
    const targets: Target[] = [];
    for (const depth of depths) {
      const name = `oci:${join(layout)}:${tagOf(depth)}`;
      targets.push(await this.#open(name, tagOf(depth), this.work.file('root')));
    }
    return targets;
  }

  #subjects(): Subject[] {
    const { work } = this;
    const { signal } = this.benchRun;
    const unpacked = new Unpacked(work, signal);
    return [
      new Lamina(work, signal, this.#preparations, true),
      new Lamina(work, signal, this.#preparations, false),
      new Library(signal, this.#preparations),
      ...this.options.against.map((name) => peer(name, { work, unpacked, signal })),
    ];
  }

  readonly #reports = new Map<string, SubjectReport>();

  /**
   * Prepares each subject for each image and opens it once. Who cannot is left out, with the reason; of an image that was made
   * deeper only those who could show the image itself are tried.
   */
  async #makeReady(subjects: readonly Subject[], series: readonly Series[]): Promise<Map<Target, Subject[]>> {
    const targets = this.#targets.filter((target) => series.some((one) => one.target === target));
    const able = new Map<Target, Subject[]>(targets.map((target) => [target, []]));
    for (const subject of subjects) {
      for (const target of targets) {
        // A tree without layers has no depth.
        if (target.label !== 'image' && subject.name === 'plain') continue;
        this.benchRun.onProgress(0, 0, `preparing ${subject.name}`);
        const outcome = await this.#tryOut(subject, target);
        if ('reason' in outcome) {
          if (!this.#reports.has(subject.name))
            this.#reports.set(subject.name, { name: subject.name, reason: outcome.reason });
          break;
        }
        able.get(target)!.push(subject);
        if (!this.#reports.has(subject.name))
          this.#reports.set(subject.name, {
            name: subject.name,
            ...(subject.about === undefined ? {} : { about: subject.about }),
            preparation: outcome.preparation,
          });
      }
      if (!this.#reports.has(subject.name))
        this.#reports.set(subject.name, {
          name: subject.name,
          reason: 'it takes part in none of the scenarios',
        });
    }
    return able;
  }

  async #tryOut(
    subject: Subject,
    target: Target,
  ): Promise<{ reason: string } | { preparation: Preparation }> {
    const reason = subject.missing(target);
    if (reason !== undefined) return { reason };
    try {
      const preparation = await subject.prepare(target);
      await (await subject.open(target)).close();
      return { preparation };
    } catch (error) {
      this.benchRun.signal.throwIfAborted();
      if (!(error instanceof LaminaError) || error.code === 'ENOSPC') throw error;
      return { reason: error.message };
    }
  }
}
