// Before anything is drawn, so that nobody in the dark sees a flash of light. A classic script: modules run later.
{
  /** @type {string | null} */
  let chosen = null;
  try {
    chosen = localStorage.getItem('mnemoq.theme');
  } catch {
    // A browser may keep the storage shut: then it is the system's theme.
  }
  const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  document.documentElement.dataset['theme'] = chosen === 'light' || chosen === 'dark' ? chosen : system;
}
