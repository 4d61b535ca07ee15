/**
 * A blob of which parts are here. What is wanted is fetched by ranges, several at once; what lies close together comes in one. What has
 * come is written down beside the file, so that the next who wants the blob need not fetch it again.
 */
import { read, readFileSync, renameSync, rmSync, write, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { LaminaError } from '../../errors.js';
import { RangeSet } from '../ranges.js';

const [readFd, writeFd] = [promisify(read), promisify(write)];

/** What lies between two ranges is fetched too when it is smaller: it costs less than another request. */
const MERGE_BYTES = 32 * 1024;
/** Of one request: a longer one is cut, so that its parts come side by side. */
const MAX_REQUEST_BYTES = 1 << 20;
const MAX_REQUESTS = 8;

interface Want {
  start: number;
  end: number;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** Bytes `start`..`end` of the blob, from the network. */
export type FetchRange = (start: number, end: number) => AsyncIterable<Buffer>;

export class SparseBlob {
  readonly have: RangeSet;
  /** Bytes that came by the network. */
  fetchedBytes = 0;
  readonly #wants = new Set<Want>();
  /** Being fetched: from where it has come so far, to its end. */
  readonly #inFlight = new Set<{ position: number; end: number }>();
  #isScheduled = false;

  /**
   * @param fd of the file, for reading and writing; whoever opened it closes it
   * @param stateFile where it is written down what is there
   */
  constructor(
    readonly fd: number,
    readonly sizeBytes: number,
    private readonly stateFile: string,
    private readonly fetchRange: FetchRange,
  ) {
    this.have = readState(stateFile, sizeBytes);
  }

  /** The bytes `start`..`end`. Raises what fetching raises. */
  async read(start: number, end: number): Promise<Buffer> {
    await this.want(start, end);
    return readWhole(this.fd, start, end);
  }

  /** Resolves when they are there. */
  want(start: number, end: number): Promise<void> {
    if (this.have.has(start, end)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#wants.add({ start, end, resolve, reject });
      this.#schedule();
    });
  }

  get isBusy(): boolean {
    return this.#wants.size > 0;
  }

  /** Takes in what somebody else fetched. */
  async put(position: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;)
      done += (await writeFd(this.fd, bytes, done, bytes.length - done, position + done)).bytesWritten;
    this.have.add(position, position + bytes.length);
    this.fetchedBytes += bytes.length;
    this.#settle();
  }

  /** Writes down what is there. Not synced: a digest decides in the end. */
  save(): void {
    const temporary = `${this.stateFile}.new`;
    writeFileSync(temporary, JSON.stringify({ sizeBytes: this.sizeBytes, have: this.have }), { mode: 0o600 });
    renameSync(temporary, this.stateFile);
  }

  /** What is there is wrong. */
  forget(): void {
    rmSync(this.stateFile, { force: true });
  }

  /** Once what is wanted at the same moment is known. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    const needed = new RangeSet();
    for (const { start, end } of this.#wants)
      for (const [from, to] of this.have.missing(start, end)) needed.add(from, to);
    const coming = new RangeSet();
    for (const { position, end } of this.#inFlight) coming.add(position, end);
    const merged: [number, number][] = [];
    for (const [start, end] of needed.toJSON())
      for (const [from, to] of coming.missing(start, end)) {
        const last = merged.at(-1);
        const isNear =
          last !== undefined && from - last[1] <= MERGE_BYTES && coming.missing(last[1], from).length > 0;
        if (isNear || last?.[1] === from) last![1] = to;
        else merged.push([from, to]);
      }
    for (const [start, end] of merged)
      for (let from = start; from < end; from += MAX_REQUEST_BYTES) {
        if (this.#inFlight.size >= MAX_REQUESTS) return;
        void this.#fetch(from, Math.min(end, from + MAX_REQUEST_BYTES));
      }
  }

  async #fetch(start: number, end: number): Promise<void> {
    const flight = { position: start, end };
    this.#inFlight.add(flight);
    try {
      for await (const chunk of this.fetchRange(start, end)) {
        const bytes = chunk.subarray(0, end - flight.position);
        await this.put(flight.position, bytes);
        flight.position += bytes.length;
        this.#settle();
      }
      if (flight.position < end)
        throw new LaminaError('ENETWORK', `a range of a layer ends at byte ${flight.position}, not ${end}`, {
          errno: 'UND_ERR_SOCKET',
        });
    } catch (error) {
      for (const want of [...this.#wants])
        if (want.start < end && want.end > flight.position && !this.have.has(want.start, want.end)) {
          this.#wants.delete(want);
          want.reject(error);
        }
    } finally {
      this.#inFlight.delete(flight);
      if (this.#wants.size > 0) this.#schedule();
    }
  }

  #settle(): void {
    for (const want of [...this.#wants])
      if (this.have.has(want.start, want.end)) {
        this.#wants.delete(want);
        want.resolve();
      }
  }
}

function readState(file: string, sizeBytes: number): RangeSet {
  try {
    const state = JSON.parse(readFileSync(file, 'utf8')) as { sizeBytes?: unknown; have?: unknown };
    return RangeSet.from(state.sizeBytes === sizeBytes ? state.have : [], sizeBytes);
  } catch {
    return new RangeSet();
  }
}

export async function readWhole(fd: number, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(end - start);
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await readFd(fd, bytes, done, bytes.length - done, start + done);
    if (bytesRead === 0) throw new LaminaError('EIO', `the file of a layer ends at byte ${start + done}`);
    done += bytesRead;
  }
  return bytes;
}
