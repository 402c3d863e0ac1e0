import { Command, Option } from 'commander';
import { report } from '../cli/terminal/exit.ts';
import { type Measurement, runMeasurements } from './run.ts';

interface BenchProgram<Asked> {
  name: string;
  description: string;
  /** What the program can measure, by the name for `--only`. Each takes the other options of the program. */
  measurements: Record<string, (asked: Asked) => Measurement>;
  /** The options besides `--json` and `--only`. */
  options: readonly Option[];
  /** What a reader of the numbers has to know. */
  note: string;
}

/** Runs the measurements for which the command line of this process asks. */
export async function runBench<Asked extends object>({
  name,
  description,
  measurements,
  options,
  note,
}: BenchProgram<Asked>): Promise<void> {
  const program = new Command(name)
    .description(description)
    .option('--json', 'print all numbers as one JSON object')
    .addOption(new Option('--only <name...>', 'measure only these').choices(Object.keys(measurements)));
  for (const option of options) program.addOption(option);
  program.action(async ({ json, only, ...others }: { json?: true; only?: string[] }) => {
    const asked = others as Asked;
    const chosen = Object.entries(measurements).filter(([each]) => only?.includes(each) ?? true);
    const made = Object.fromEntries(chosen.map(([each, make]) => [each, make(asked)]));
    await runMeasurements(made, { json, asked, note });
  });
  try {
    await program.parseAsync();
  } catch (error) {
    process.exitCode = report(error);
  }
}
