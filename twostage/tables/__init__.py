"""What people write: tables, folders and names become rows with a photograph, a concentration and a specimen."""
