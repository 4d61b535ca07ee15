/** What transfers do, line by line. */
export interface ShownProgress {
  update(id: string, step: { action: string; current?: number; total?: number }): void;
  done(id: string, text: string): void;
  message(text: string): void;
  finish(): void;
}

export function createTransferProgress(isQuiet: boolean): ShownProgress {
  const said = new Map<string, string>();
  const say = (id: string, text: string): void => {
    if (isQuiet || said.get(id) === text) return;
    said.set(id, text);
    process.stdout.write(`${id}: ${text}\n`);
  };
  return {
    update: (id, { action, current, total }) => {
      if ((current ?? 0) === 0 && (total ?? 0) === 0) say(id, action);
    },
    done: say,
    message: (text) => {
      if (!isQuiet) process.stdout.write(`${text}\n`);
    },
    finish: () => {},
  };
}
