/**
 * The lazy source of a layer, and the map in which the server sees which blocks of it are there (FORMAT.md, Presence map). A block counts
 * as there when it has been written; the map's file is what the server has mapped.
 */
import { read, write, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { piecesIn } from '../../layer/lazy/pieces.js';
import type { LazyLayer } from '../../layer/lazy/pieces.js';

const writeFd = promisify(write);
const readFd = promisify(read);

export const BLOCK_SHIFT = 16;
export const BLOCK_BYTES = 1 << BLOCK_SHIFT;
export const MAP_HEADER_BYTES = 64;
const MAGIC = 'LAMPRES1';
const COMPLETE_AT = 24;

/** A map of a source of which nothing is there. */
export function emptyMap(sizeBytes: number): Buffer {
  const map = Buffer.alloc(MAP_HEADER_BYTES + Math.ceil(Math.ceil(sizeBytes / BLOCK_BYTES) / 8));
  map.write(MAGIC, 0, 'latin1');
  map.writeUInt32LE(1, 8);
  map.writeUInt32LE(BLOCK_SHIFT, 12);
  map.writeBigUInt64LE(BigInt(sizeBytes), 16);
  return map;
}

export class Presence {
  readonly #done: Uint8Array;
  readonly #bits: Buffer;
  #left: number;

  /** @param bits what the map's file holds after its header: those of a fetcher that died */
  private constructor(
    readonly dataFd: number,
    private readonly mapFd: number,
    private readonly layer: LazyLayer,
    bits: Buffer,
  ) {
    this.#bits = bits;
    this.#done = new Uint8Array(layer.pieces.length);
    this.#left = layer.pieces.length;
    // A piece is there when all its blocks are; one that only shares blocks that are not whole yet is made again.
    layer.pieces.forEach(({ offset, length }, piece) => {
      for (let block = Math.floor(offset / BLOCK_BYTES); block <= lastBlock(offset, length); block++)
        if (!this.#hasBlock(block)) return;
      this.#done[piece] = 1;
      this.#left--;
    });
  }

  static async open(dataFd: number, mapFd: number, layer: LazyLayer): Promise<Presence> {
    const bits = Buffer.alloc(emptyMap(layer.sizeBytes).length - MAP_HEADER_BYTES);
    await readFd(mapFd, bits, 0, bits.length, MAP_HEADER_BYTES);
    return new Presence(dataFd, mapFd, layer, bits);
  }

  hasPiece(piece: number): boolean {
    return this.#done[piece] === 1;
  }

  get isComplete(): boolean {
    return this.#left === 0;
  }

  /** Of whole blocks. */
  hasAll(offset: number, length: number): boolean {
    const [first, last] = piecesIn(this.layer.pieces, offset, length);
    for (let piece = first; piece < last; piece++) if (this.#done[piece] === 0) return false;
    return true;
  }

  /** Writes a piece, and then says that the blocks that it makes whole are there. */
  async put(piece: number, plain: Buffer): Promise<void> {
    const { offset, length } = this.layer.pieces[piece]!;
    for (let done = 0; done < length;)
      done += (await writeFd(this.dataFd, plain, done, length - done, offset + done)).bytesWritten;
    if (this.#done[piece] === 1) return;
    this.#done[piece] = 1;
    this.#left--;
    for (let block = Math.floor(offset / BLOCK_BYTES); block <= lastBlock(offset, length); block++)
      if (this.hasAll(block * BLOCK_BYTES, BLOCK_BYTES)) this.#mark(block);
  }

  /** From now on the server does not look at blocks any more. */
  markComplete(): void {
    const flag = Buffer.alloc(4);
    flag.writeUInt32LE(1);
    writeSync(this.mapFd, flag, 0, 4, COMPLETE_AT);
  }

  #hasBlock(block: number): boolean {
    return (this.#bits[block >> 3]! & (1 << (block & 7))) !== 0;
  }

  #mark(block: number): void {
    const at = block >> 3;
    this.#bits[at]! |= 1 << (block & 7);
    writeSync(this.mapFd, this.#bits, at, 1, MAP_HEADER_BYTES + at);
  }
}

function lastBlock(offset: number, length: number): number {
  return Math.floor((offset + length - 1) / BLOCK_BYTES);
}
