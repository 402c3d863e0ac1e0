/** A series of Prometheus's text format, as `name{label="value",…}`, and its value. */
export type Series = Map<string, number>;

export function parseMetrics(text: string): Series {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const [, series, value] = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$/.exec(line) ?? [];
      if (series === undefined) throw new Error(`not Prometheus's text format: ${line}`);
      return [series, value === '+Inf' ? Infinity : Number(value)];
    }),
  );
}
