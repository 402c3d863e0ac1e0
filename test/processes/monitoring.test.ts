import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { stringify, parse as parseYaml } from 'yaml';
import { startApi } from '../../doors/http/server.ts';
import { parseMetrics } from '../support/clients/scrape.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const MONITORING = path.join(ROOT, 'deploy/monitoring');
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

interface Rule {
  alert: string;
  expr: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}
interface Panel {
  id: number;
  type: string;
  title: string;
  datasource?: { type: string; uid: string };
  targets?: { expr: string; datasource: { uid: string } }[];
}

const { groups } = parseYaml(read('deploy/monitoring/rules.yml')) as { groups: { rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(read('deploy/monitoring/grafana/dashboards/mnemoq.json')) as { panels: Panel[] };
const charts = dashboard.panels.filter(({ type }) => type !== 'row');
const chartExpressions = charts.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
const expressions = [...rules.map(({ expr }) => expr), ...chartExpressions];

/** The labels that Prometheus adds. */
const ADDED = { job: ['mnemoq'], service: ['chat', 'reflection', 'flush', 'api', 'dashboard'] };

describe('what the alerts and the Grafana dashboard ask for', () => {
  let stack: Stack;
  /** Every name a series may have, and the values each of its labels has. */
  const exposed = new Map<string, Record<string, string[]>>([['up', ADDED]]);
  beforeAll(async () => {
    stack = await startStack({ environment: { MEMORY_API_PORT: '0' } });
    const api = await startApi(stack.environment, '1.0.0');
    const key = stack.environment['MEMORY_API_KEYS']?.split(':')[1];
    const scrape = async () => {
      const response = await fetch(`${api.url}/metrics`, { headers: { authorization: `Bearer ${key}` } });
      return response.text();
    };
    await scrape(); // the first request that is timed
    const text = await scrape();
    await api.stop();
    for (const series of parseMetrics(text).keys()) {
      const [, name = '', labels = ''] = /^(\w+)(?:\{(.*)\})?$/.exec(series) ?? [];
      const known = exposed.get(name) ?? { ...ADDED };
      for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="([^"]*)"/g)) (known[label] ??= []).push(value);
      exposed.set(name, known);
    }
  });
  afterAll(() => stack.stop());

  test.each(expressions)('is there: %s', (expression) => {
    const names = expression.match(/\b(up|(mnemoq|process|nodejs)_\w+)\b/g) ?? [];
    expect(names).not.toHaveLength(0);
    expect(names.filter((name) => !exposed.has(name))).toEqual([]);
    for (const [, name = '', selector = ''] of expression.matchAll(/(\w+)\{([^}]*)\}/g)) {
      for (const [, label = '', values = ''] of selector.matchAll(/(\w+)(?:=|!=|=~)"([^"]*)"/g)) {
        const known = exposed.get(name)?.[label] ?? [];
        expect([name, label, values.split('|').filter((value) => !known.includes(value))]).toEqual([name, label, []]);
      }
    }
    const labels = [...expression.matchAll(/\b(?:by|on) \(([^)]+)\)/g)].flatMap(([, list = '']) => list.split(', '));
    const known = new Set(['instance', ...names.flatMap((name) => Object.keys(exposed.get(name) ?? {}))]);
    expect(labels.filter((label) => !known.has(label))).toEqual([]);
  });
});

describe('the alerts', () => {
  const headings = read('RELIABILITY.md').match(/^#+ .+$/gm) ?? [];
  /** As GitHub makes them. */
  const anchors = headings.map((heading) =>
    heading
      .replace(/^#+ /, '')
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );

  test.each(rules)('$alert says what is wrong and where to read on', ({ labels, annotations }) => {
    expect(labels['severity']).toMatch(/^(critical|warning)$/);
    expect(annotations).toEqual({
      summary: expect.stringMatching(/\S/),
      description: expect.stringMatching(/\.$/),
      runbook: expect.stringMatching(/^RELIABILITY\.md#alert-/),
    });
    expect(anchors).toContain(annotations['runbook']?.split('#')[1]);
  });

  test('RELIABILITY.md has no section for an alert that is not there, and its links lead somewhere', () => {
    const linked = new Set(rules.map(({ annotations }) => annotations['runbook']?.split('#')[1]));
    expect(anchors.filter((anchor) => anchor.startsWith('alert-') && !linked.has(anchor))).toEqual([]);
    const links = [...read('RELIABILITY.md').matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor);
    expect(links.filter((anchor) => !anchors.includes(anchor ?? ''))).toEqual([]);
  });
});

test('the Grafana dashboard asks the data source that is provisioned, and has every panel once', () => {
  const file = 'deploy/monitoring/grafana/provisioning/datasources/prometheus.yml';
  const [source] = (parseYaml(read(file)) as { datasources: { uid: string; type: string }[] }).datasources;
  const used = charts.flatMap((panel) => [panel, ...(panel.targets ?? [])].map((each) => each.datasource?.uid));
  expect(new Set(used)).toEqual(new Set([source?.uid]));
  expect(source?.type).toBe('prometheus');
  const { panels } = dashboard;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  expect(new Set(panels.map(({ type, title }) => `${type} ${title}`)).size).toBe(panels.length);
});

const hasPromtool = spawnSync('promtool', ['--version']).status === 0;
(hasPromtool ? describe : describe.skip)('promtool (of the Debian package prometheus)', () => {
  const scratch = mkdtempSync(path.join(tmpdir(), 'mnemoq-monitoring-'));
  afterAll(() => rmSync(scratch, { recursive: true }));

  function promtool(...args: string[]) {
    const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: MONITORING, encoding: 'utf8' });
    return { status, output: stdout + stderr };
  }
  const well = { status: 0, output: expect.stringContaining('SUCCESS') };

  test('takes the configuration and the rules', () => {
    expect(promtool('check', 'config', '--lint-fatal', 'prometheus.yml')).toEqual(well);
  });

  test('raises the alerts when it should, and only then', () => {
    expect(promtool('test', 'rules', 'rules.test.yml')).toEqual(well);
  });

  test('can read what the Grafana dashboard asks', () => {
    const asked = chartExpressions.map((expr, index) => ({
      record: `asked:${index}`,
      expr: expr.replaceAll('$__rate_interval', '1m'),
    }));
    const file = path.join(scratch, 'asked.yml');
    writeFileSync(file, stringify({ groups: [{ name: 'asked', rules: asked }] }));
    expect(promtool('check', 'rules', '--lint=none', file)).toEqual(well);
  });
});
