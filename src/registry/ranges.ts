/** Which bytes of a file are there: disjoint ranges in order, ends not included. */
export type Range = readonly [start: number, end: number];

export class RangeSet {
  #ranges: [number, number][] = [];

  /** Ranges in any order; what is malformed is left out. */
  static from(ranges: unknown, sizeBytes: number): RangeSet {
    const set = new RangeSet();
    for (const range of Array.isArray(ranges) ? (ranges as unknown[]) : []) {
      const [start, end] = Array.isArray(range) ? (range as unknown[]) : [];
      const isRange = Number.isSafeInteger(start) && Number.isSafeInteger(end);
      if (isRange && (start as number) >= 0 && (end as number) <= sizeBytes)
        set.add(start as number, end as number);
    }
    return set;
  }

  add(start: number, end: number): void {
    if (start >= end) return;
    const first = this.#firstEndingAt(start);
    let last = first;
    let [low, high] = [start, end];
    for (; last < this.#ranges.length && this.#ranges[last]![0] <= end; last++) {
      low = Math.min(low, this.#ranges[last]![0]);
      high = Math.max(high, this.#ranges[last]![1]);
    }
    this.#ranges.splice(first, last - first, [low, high]);
  }

  remove(start: number, end: number): void {
    if (start >= end) return;
    this.#ranges = this.#ranges.flatMap(([from, to]): [number, number][] =>
      to <= start || from >= end
        ? [[from, to]]
        : ([
            [from, start],
            [end, to],
          ].filter(([low, high]) => low! < high!) as [number, number][]),
    );
  }

  has(start: number, end: number): boolean {
    return start >= end || this.presentUntil(start) >= end;
  }

  /** Where what is there from `position` on ends; `position` when nothing is. */
  presentUntil(position: number): number {
    const range = this.#ranges[this.#firstEndingAt(position + 1)];
    return range !== undefined && range[0] <= position ? range[1] : position;
  }

  /** Where what is there next after `position` begins; Infinity when nothing is. */
  nextAfter(position: number): number {
    return this.#ranges[this.#firstEndingAt(position + 1)]?.[0] ?? Infinity;
  }

  /** What of a range is not there. */
  missing(start: number, end: number): Range[] {
    const found: Range[] = [];
    for (let position = start; position < end;) {
      const present = this.presentUntil(position);
      if (present > position) {
        position = present;
        continue;
      }
      const next = Math.min(end, this.nextAfter(position));
      found.push([position, next]);
      position = next;
    }
    return found;
  }

  get totalBytes(): number {
    return this.#ranges.reduce((sum, [start, end]) => sum + end - start, 0);
  }

  toJSON(): readonly Range[] {
    return this.#ranges;
  }

  /** The first range that ends at `position` or after it. */
  #firstEndingAt(position: number): number {
    let [low, high] = [0, this.#ranges.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle]![1] < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
