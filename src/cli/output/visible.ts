/**
 * Text of others (what an image says of itself, what was typed) for tables and messages: it must neither drive the terminal nor look like lines of ours.
 * Go templates and JSON give it as it is.
 */

/** Control characters, line separators and what turns the direction of text around. */
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

const ASCII = /^[\x20-\x7e]*$/;

/** White space becomes a space, everything else that would not be seen its escape: `\x1b`, `\u202e`. */
export function visible(text: string): string {
  if (ASCII.test(text)) return text;
  return text.replaceAll(HIDDEN, (character) => (/\s/.test(character) ? ' ' : escaped(character)));
}

/** As visible(), for text that may have several lines. */
export function visibleLines(text: string): string {
  return text.replaceAll(HIDDEN, (character) => (character === '\n' ? '\n' : escaped(character)));
}

function escaped(character: string): string {
  const hex = character.charCodeAt(0).toString(16);
  return hex.length > 2 ? `\\u${hex}` : `\\x${hex.padStart(2, '0')}`;
}
