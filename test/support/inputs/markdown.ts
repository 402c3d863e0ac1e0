/** Markdown as far as the documentation uses it, read without a parser: headings, links, tables, blocks of code. */

interface Heading {
  level: number;
  text: string;
}

interface Table {
  head: string[];
  rows: string[][];
}

const FENCE = /^(`{3,})([\w-]*)\n([\s\S]*?)^\1$/gm;

export function headingsOf(page: string): Heading[] {
  return [...withoutBlocks(page).matchAll(/^(#{1,6}) (.+)$/gm)].map(([, marks = '', text = '']) => ({
    level: marks.length,
    text: text.replaceAll('`', ''),
  }));
}

/** As GitHub makes an anchor of a heading. */
export function slugOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, '')
    .replaceAll(' ', '-');
}

/** Where links and pictures lead, but those that leave the repository. */
export function linksOf(page: string): string[] {
  return [...withoutCode(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, to = '']) => to)
    .filter((to) => !/^[a-z]+:/.test(to));
}

export function tablesOf(page: string): Table[] {
  return [...withoutBlocks(page).matchAll(/^\|.*\|\n\|[ :|-]+\|\n(?:\|.*\|(?:\n|$))*/gm)].map(([table]) => {
    const [head = [], , ...rows] = table.trim().split('\n').map(cellsOf);
    return { head, rows };
  });
}

function cellsOf(line: string): string[] {
  return line
    .slice(1, -1)
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim());
}

/** The blocks of code, of one language or of all. */
export function blocksOf(page: string, language?: string): string[] {
  return [...page.matchAll(FENCE)]
    .filter(([, , given]) => language === undefined || given === language)
    .map(([, , , block = '']) => block);
}

/** Everything that stands in code, a line each. */
export function wordsOf(page: string): string {
  const inline = [...withoutBlocks(page).matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
  return [...blocksOf(page), ...inline].join('\n');
}

function withoutBlocks(page: string): string {
  return page.replaceAll(FENCE, '');
}

function withoutCode(page: string): string {
  return withoutBlocks(page).replaceAll(/`[^`\n]*`/g, '');
}
