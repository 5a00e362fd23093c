// Scripts and styles of a page are imported as text: `?raw`, as vite and with it the test runner knows it.

declare module '*?raw' {
  const source: string
  export default source
}
