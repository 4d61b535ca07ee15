/** Columns that text takes on a terminal (Unicode Standard Annex 11): East Asian wide characters take two. */
import { eastAsianWidth } from 'get-east-asian-width';

const ASCII = /^[\x00-\x7f]*$/;
const ZERO_WIDTH = /[\p{Mn}\p{Me}\p{Cf}]/u;

export function displayWidth(text: string): number {
  if (ASCII.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

function characterWidth(character: string): number {
  return ZERO_WIDTH.test(character) ? 0 : eastAsianWidth(character.codePointAt(0)!);
}

/** Cut to `columns`, of which the last is then `…` (docker/cli formatter/displayutils.go, Ellipsis). */
export function ellipsis(text: string, columns: number): string {
  if (columns <= 0) return '';
  if (columns === 1) return [...text].slice(0, 1).join('');
  if (displayWidth(text) <= columns) return text;
  return `${cut(text, columns - 1)}\u2026`;
}

/** As much of `text` as fits. */
export function cut(text: string, columns: number): string {
  if (ASCII.test(text)) return text.slice(0, columns);
  let width = 0;
  let kept = '';
  for (const character of text) {
    width += characterWidth(character);
    if (width > columns) break;
    kept += character;
  }
  return kept;
}
