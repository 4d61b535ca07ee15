/** What a build says while it runs; how that is shown is the command's. */
export interface BuildProgress {
  /** A step begins: `[build 2/3] RUN make`. */
  step(title: string): ProgressStep;
}

export interface ProgressStep {
  /** What a command printed, or a line about what is done. */
  log(text: string): void;
  /** It had been done before. */
  cached(): void;
  done(): void;
  failed(message: string): void;
}
