/** One lazy layer as the fetcher works on it: pieces are made when they are asked for, each once. */
import { LaminaError } from '../../errors.js';
import { piecesIn, WINDOW_BYTES } from '../../layer/lazy/pieces.js';
import type { LazyLayer, PackedWindow } from '../../layer/lazy/pieces.js';
import { ReadAhead } from './read-ahead.js';
import { BLOCK_BYTES } from '../../registry/lazy/presence.js';
import type { Presence } from '../../registry/lazy/presence.js';
import { readWhole } from '../../registry/lazy/sparse-blob.js';
import type { SparseBlob } from '../../registry/lazy/sparse-blob.js';

export class LazySource {
  readonly #inProgress = new Map<number, Promise<void>>();
  readonly #readAhead: ReadAhead;

  /** @param windows those of an index, where it has some */
  constructor(
    readonly layer: LazyLayer,
    readonly blob: SparseBlob,
    readonly windows: SparseBlob | undefined,
    readonly presence: Presence,
  ) {
    this.#readAhead = new ReadAhead(layer);
  }

  /** Begins to fetch what will be asked for next, after what has been asked for. That it fails is told to who asks for it. */
  ahead(offset: number, length: number): void {
    const bytes = this.#readAhead.after(offset, length);
    if (bytes > 0) this.ensure(offset + length, bytes).catch(() => {});
  }

  /** Brings the blocks that hold `length` bytes from `offset`. Raises what fetching and decoding raise. */
  async ensure(offset: number, length: number): Promise<void> {
    const start = Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const end = Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    const [first, last] = piecesIn(this.layer.pieces, start, end - start);
    const work: Promise<void>[] = [];
    for (let piece = first; piece < last; piece++)
      if (!this.presence.hasPiece(piece)) work.push(this.#piece(piece));
    const results = await Promise.allSettled(work);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Makes all that is missing, of what is here: nothing is fetched any more. `pause` is awaited in between. */
  async fill(pause: () => Promise<void>): Promise<void> {
    for (let piece = 0; piece < this.layer.pieces.length; piece++) {
      if (this.presence.hasPiece(piece)) continue;
      await pause();
      await this.#piece(piece);
    }
  }

  #piece(piece: number): Promise<void> {
    const existing = this.#inProgress.get(piece);
    if (existing !== undefined) return existing;
    const made = this.#make(piece).finally(() => this.#inProgress.delete(piece));
    this.#inProgress.set(piece, made);
    return made;
  }

  async #make(piece: number): Promise<void> {
    const { blobStart, blobEnd } = this.layer.pieces[piece]!;
    const packed = this.layer.windowOf?.(piece);
    const [stored, window] = await Promise.all([
      this.blob.read(blobStart, blobEnd),
      packed === undefined ? undefined : this.#window(piece, packed),
    ]);
    try {
      await this.presence.put(piece, await this.layer.decode(piece, stored, window));
    } catch (error) {
      // What was fetched is wrong: the next who asks has it fetched again.
      if (error instanceof LaminaError && (error.code === 'EDIGEST' || error.code === 'EBADTAR')) {
        this.blob.have.remove(blobStart, blobEnd);
        if (packed !== undefined) this.windows?.have.remove(packed.start, packed.end);
      }
      throw error;
    }
  }

  /** From what is there already, where it is: most often it is, because files are read on. */
  async #window(piece: number, { start, end, unpack }: PackedWindow): Promise<Buffer | undefined> {
    const { offset } = this.layer.pieces[piece]!;
    const from = Math.max(0, offset - WINDOW_BYTES);
    // A member of its own has less before it than the tar has, and then not all of this is its window; the rest does no harm.
    if (this.presence.hasAll(from, offset - from)) return readWhole(this.presence.dataFd, from, offset);
    return this.windows === undefined ? undefined : unpack(await this.windows.read(start, end));
  }
}
