// A route of Next.js whose bundle leaves lopt outside.

import { ones } from 'lopt/torch'

export const dynamic = 'force-dynamic'

export function GET() {
  return new Response(`bundled ${ones([2, 3]).shape.join()}`)
}
