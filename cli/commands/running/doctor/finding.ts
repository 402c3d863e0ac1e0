import { messageOf } from '../../../../shared/errors.ts';

export interface Finding {
  name: string;
  ok: boolean;
  detail: string;
  /** How to repair it when it is not well. */
  mend: string;
}

/** How to repair what is found. The first pattern that matches counts. */
export type Mends = readonly (readonly [found: RegExp, mend: string])[];

export async function attempt(name: string, mends: string | Mends, work: () => Promise<string>): Promise<Finding> {
  try {
    return { name, ok: true, detail: await work(), mend: '' };
  } catch (error) {
    const found = messageOf(error);
    return { name, ok: false, detail: found, mend: typeof mends === 'string' ? mends : mendFor(found, mends) };
  }
}

export function mendFor(found: string, mends: Mends): string {
  return mends.find(([pattern]) => pattern.test(found))?.[1] ?? '';
}
