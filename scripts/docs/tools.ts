import { addTools } from '../../doors/mcp/tools.ts';
import { code, table } from './tables.ts';

interface Registered {
  description: string;
  inputSchema: { '~standard': { jsonSchema: { input: () => { properties?: object; required?: string[] } } } };
}

/** The tools of a service, which has all of them, with what each takes. */
export function tools(): string {
  const rows: string[][] = [];
  const registerTool = (name: string, { description, inputSchema }: Registered) => {
    const { properties = {}, required = [] } = inputSchema['~standard'].jsonSchema.input();
    const takes = Object.keys(properties).map((field) => code(required.includes(field) ? field : `${field}?`));
    rows.push([code(name), takes.join(', '), description]);
  };
  addTools({ registerTool } as never, { memory: {}, caller: { name: 'docs', userId: null }, logger: {} } as never);
  return table(['tool', 'takes', 'what it tells the agent'], rows);
}
