/** Who waits for something comes before what is done in the background. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Who has just been answered mostly asks again: the line is left to him for so long. */
const IDLE_MS = 300;

export class Gate {
  #active = 0;
  #lastMs = 0;

  async pass<T>(work: () => Promise<T>): Promise<T> {
    this.#active++;
    try {
      return await work();
    } finally {
      this.#active--;
      this.#lastMs = Date.now();
    }
  }

  get isBusy(): boolean {
    return this.#active > 0;
  }

  async untilIdle(): Promise<void> {
    for (;;) {
      const leftMs = this.#active > 0 ? IDLE_MS : this.#lastMs + IDLE_MS - Date.now();
      if (leftMs <= 0) return;
      await sleep(Math.min(leftMs, 50));
    }
  }
}
