import { stopServices } from './services.ts';

export default stopServices;
