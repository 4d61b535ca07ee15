/** The picture: one panel for each metric with its own scale, a bar for each subject, and lines from the least to the largest sample. */
import { headLines } from './report.js';
import type { BenchReport, Result } from './report.js';
import { figure, ratioText } from './statistics.js';

const COLUMNS = 2;
const PANEL = { width: 470, gap: 30, title: 24, bar: 14, step: 20, bottom: 18 } as const;
const LABEL_WIDTH = 112;
const VALUE_WIDTH = 128;
const MARGIN = 24;
const HEAD = { title: 30, line: 17, bottom: 14 } as const;
const FONT = 'system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif';

/** Told apart by colour-blind readers too (Okabe and Ito); every bar is labelled as well. */
const COLOURS: Record<string, string> = {
  lamina: '#0072b2',
  'lamina-no-uring': '#56b4e9',
  'lamina-library': '#009e73',
  overlayfs: '#d55e00',
  'fuse-overlayfs': '#e69f00',
  plain: '#999999',
};

export function renderSvg(report: BenchReport): string {
  const metrics = [...new Set(report.results.map(({ metric }) => metric))].map((metric) =>
    report.results.filter((result) => result.metric === metric),
  );
  const head = headLines(report);
  if (report.reference !== undefined) head.push(`in parentheses: times that of ${report.reference}`);
  const top = MARGIN + HEAD.title + head.length * HEAD.line + HEAD.bottom;
  const rows = Array.from({ length: Math.ceil(metrics.length / COLUMNS) }, (_, row) =>
    metrics.slice(row * COLUMNS, (row + 1) * COLUMNS),
  );
  const width = 2 * MARGIN + COLUMNS * PANEL.width + (COLUMNS - 1) * PANEL.gap;
  const body: string[] = [];
  let y = top;
  for (const row of rows) {
    row.forEach((results, column) =>
      body.push(panel(results, MARGIN + column * (PANEL.width + PANEL.gap), y, report.reference)),
    );
    y += Math.max(...row.map(heightOf));
  }
  const height = y + MARGIN - PANEL.bottom;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" font-family="${FONT}">`,
    `<title>${escape(`lamina bench ${report.image.name}`)}</title>`,
    `<desc>${escape(head.join('. '))}</desc>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(
      MARGIN,
      MARGIN + 16,
      `lamina bench ${report.image.name}`,
      'font-size="20" font-weight="600" fill="#111111"',
    ),
    ...head.map((line, index) =>
      text(MARGIN, MARGIN + HEAD.title + 10 + index * HEAD.line, line, 'font-size="12" fill="#555555"'),
    ),
    ...body,
    '</svg>',
    '',
  ].join('\n');
}

function heightOf(results: readonly Result[]): number {
  return PANEL.title + results.length * PANEL.step + PANEL.bottom;
}

function panel(results: readonly Result[], x: number, y: number, reference: string | undefined): string {
  const most = Math.max(...results.map(({ max }) => max), Number.MIN_VALUE);
  const room = PANEL.width - LABEL_WIDTH - VALUE_WIDTH;
  const scale = (value: number): number => (value / most) * room;
  const parts = [text(x, y + 14, results[0]!.title, 'font-size="13" font-weight="600" fill="#111111"')];
  const left = x + LABEL_WIDTH;
  results.forEach((result, index) => {
    const top = y + PANEL.title + index * PANEL.step;
    const middle = top + PANEL.bar / 2;
    const base = top + PANEL.bar - 3;
    const suffix =
      result.ratio === undefined || result.subject === reference ? '' : ` (${ratioText(result.ratio)})`;
    parts.push(
      text(left - 8, base, result.subject, 'font-size="12" text-anchor="end" fill="#333333"'),
      `<rect x="${left}" y="${top}" width="${fixed(Math.max(1, scale(result.median)))}" height="${PANEL.bar}" rx="2" fill="${COLOURS[result.subject] ?? '#666666'}"/>`,
      `<path d="M${fixed(left + scale(result.min))} ${middle}H${fixed(left + scale(result.max))}" stroke="#000000" stroke-opacity="0.45" fill="none"/>`,
      text(
        left + Math.max(scale(result.max), scale(result.median)) + 6,
        base,
        `${figure(result.median, result.unit)}${suffix}`,
        'font-size="12" fill="#333333"',
      ),
    );
  });
  return `<g>${parts.join('\n')}</g>`;
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" ${attributes}>${escape(content)}</text>`;
}

function fixed(value: number): string {
  return String(Number(value.toFixed(2)));
}

/** Also takes away what XML 1.0 cannot hold at all (section 2.2, Char). */
function escape(content: string): string {
  return content
    .replaceAll(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
