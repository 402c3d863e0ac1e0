import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse as parseYaml } from 'yaml';

export const ROOT = path.join(import.meta.dirname, '../../..');

export interface Service {
  image: string;
  build?: string;
  extends?: { file: string; service: string };
  profiles?: string[];
  command?: string[];
  entrypoint?: string[];
  volumes?: string[];
  environment?: Record<string, string | number | null>;
  ports?: string[];
  networks: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test?: string[]; disable?: boolean };
  stop_grace_period?: string;
  read_only?: boolean;
  cap_drop?: string[];
  security_opt?: string[];
  tmpfs?: string[];
}

export interface Model {
  services: Record<string, Service>;
  networks: Record<string, { internal?: boolean } | null>;
}

/** A file of the repository. */
export const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

export function parseModel(file: string): Model {
  // `!override` concerns how files are merged, which `compose` below does in the same way.
  return parseYaml(read(file), { merge: true, logLevel: 'error' }) as Model;
}

/** A compose file with what it includes and extends. */
export function compose(file: string): Model {
  const { services, networks, include = [] } = parseModel(file) as Model & { include?: string[] };
  const included = include.map(parseModel);
  const resolved = Object.entries(services).map(([name, service]) => {
    if (!service.extends) return [name, service] as const;
    const base = parseModel(service.extends.file).services[service.extends.service];
    return [name, { ...base, ...service, environment: { ...base?.environment, ...service.environment } }] as const;
  });
  return {
    services: Object.assign({}, ...included.map((each) => each.services), Object.fromEntries(resolved)),
    networks: Object.assign({}, ...included.map((each) => each.networks), networks),
  };
}

/** `${NAME}`, `${NAME:-default}` and `${NAME:?message}` when nothing is set. */
export function withDefaults(value: string): string {
  return value.replaceAll(/\$\{\w+(?::([-?])([^}]*))?\}/g, (_, kind: string, rest: string) =>
    kind === '-' ? rest : '',
  );
}
