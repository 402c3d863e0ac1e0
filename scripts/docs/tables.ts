/** Markdown that more than one page needs. */

/** What a page says in a reader's language; English is the language of the sources. */
export type Say = (phrase: string) => string;

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function cell(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ').replaceAll(/(?<!\\)\|/g, '\\|');
}

export function code(text: string): string {
  return `\`${text}\``;
}
