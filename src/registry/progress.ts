/** What transfers tell of what they do; the command line has what shows it. */
export interface TransferProgress {
  update(id: string, step: { action: string; current?: number; total?: number }): void;
  /** The last that is said of `id`. */
  done(id: string, text: string): void;
  message(text: string): void;
}

export const SILENT: TransferProgress = { update: () => {}, done: () => {}, message: () => {} };

/** As docker shows layers: 12 digits. */
export function shortId(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12);
}
