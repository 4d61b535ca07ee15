/**
 * Seeded random numbers and file contents: two runs of a builder, on any machine, give the same bytes. Contents are
 * slices of one random pool, so that 1 GB of them costs a copy and not a generator.
 */

/** mulberry32: a function that returns numbers in 0..1 (exclusive), the same sequence for the same seed. */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A log-normal size in bytes: half of all files are smaller than `medianBytes`, a few are very large. */
export function randomSize(random, { medianBytes, sigma, maxBytes }) {
  const u = Math.max(random(), Number.MIN_VALUE);
  const normal = Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * random());
  return Math.min(maxBytes, Math.round(medianBytes * Math.exp(sigma * normal)));
}

const POOL_BYTES = 8 * 1024 * 1024;
let pool;

function randomPool() {
  if (pool === undefined) {
    const words = new Uint32Array(POOL_BYTES / 4);
    let x = 2463534242;
    for (let i = 0; i < words.length; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      words[i] = x;
    }
    pool = Buffer.from(words.buffer);
  }
  return pool;
}

/** The content of a file in pieces of at most 8 MiB: `sizeBytes` bytes that depend on `seed` alone. */
export function* contentChunks(seed, sizeBytes) {
  const source = randomPool();
  let start = Math.imul(seed, 2654435761) >>> 0;
  for (let done = 0; done < sizeBytes;) {
    start %= POOL_BYTES - 4096;
    const length = Math.min(sizeBytes - done, POOL_BYTES - start);
    yield source.subarray(start, start + length);
    done += length;
    start += length + 4099;
  }
}
