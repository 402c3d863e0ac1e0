// This runs before anything is drawn, so that somebody with a dark theme does not see a flash of light. It is a classic script,
// because modules run later.
{
  /** @type {string | null} */
  let chosen = null;
  try {
    chosen = localStorage.getItem('mnemoq.theme');
  } catch {
    // A browser may forbid the storage. Then the theme of the system is shown.
  }
  const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  document.documentElement.dataset['theme'] = chosen === 'light' || chosen === 'dark' ? chosen : system;
}
