"""The functional form: state in, state out, traceable by a compiler."""
